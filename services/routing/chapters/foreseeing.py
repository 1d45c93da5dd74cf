"""Plans look ahead: what scarce stock is worth to later orders is worked out in the background."""

from services.routing import price_pages, replanning_measures
from services.routing.handlers import prices

ERRANDS = prices.errands
ROUTES = price_pages.ROUTES
GAUGES = [price_pages.GAUGES, replanning_measures.GAUGES]
