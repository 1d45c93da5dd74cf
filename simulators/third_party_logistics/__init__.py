"""A stand-in for third-party logistics companies: works on pick lists with a partner's limited broker user, on shelves of its own."""
