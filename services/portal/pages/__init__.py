"""Pages for people: the shopper's order page and the operators' console. Plain HTML and one style sheet; nothing needs JavaScript."""
