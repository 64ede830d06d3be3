"""The director's admin interface (protocol, section 2): all of its routes. They are for operators."""

from starlette.routing import BaseRoute

from director.admin_desk import AdminDesk
from director.admin_events import event_routes
from director.admin_nodes import node_routes
from director.admin_operations import operation_routes
from director.admin_reservations import reservation_routes
from director.admin_rooms import room_routes
from director.admin_session import session_routes


def admin_routes(admin: AdminDesk) -> list[BaseRoute]:
    """The admin interface."""
    return [
        *session_routes(admin.operators),
        *node_routes(admin),
        *reservation_routes(admin),
        *room_routes(admin),
        *operation_routes(admin),
        *event_routes(admin),
    ]
