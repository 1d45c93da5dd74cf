"""The rules of sync: values in (time and chance included), values out. No input or output, no clock."""
