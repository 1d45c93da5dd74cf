"""Per message: load, decide, save, say. By what the message is about."""

from services.routing.decide.answers import ANSWERS
from services.routing.handlers.answers import hear_third_parties
from services.routing.handlers.assignments import hand_over_assigned_plans, plan_anew_after_refusals
from services.routing.handlers.changes import cancel_orders, edit_orders
from services.routing.handlers.consents import answer_delays
from services.routing.handlers.due import adopt_early_reservations, wake_due_orders
from services.routing.handlers.locations import register_locations
from services.routing.handlers.operators import retry_order
from services.routing.handlers.orders import take_placed_orders
from services.routing.handlers.payments import drop_refused_payments, take_payments
from services.routing.handlers.places import keep_places, name_what_carries
from services.routing.handlers.rules import publish_rules, save_rules
from services.routing.handlers.stock import move_promises, note_backorders, plan_reserved_units

__all__ = [
    "ANSWERS",
    "adopt_early_reservations",
    "answer_delays",
    "cancel_orders",
    "drop_refused_payments",
    "edit_orders",
    "hand_over_assigned_plans",
    "hear_third_parties",
    "keep_places",
    "move_promises",
    "name_what_carries",
    "note_backorders",
    "plan_anew_after_refusals",
    "plan_reserved_units",
    "publish_rules",
    "register_locations",
    "retry_order",
    "save_rules",
    "take_payments",
    "take_placed_orders",
    "wake_due_orders",
]
