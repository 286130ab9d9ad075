"""Every table of the core, imported for their registration with the metadata. Migrations and tests read this list."""

from hosthold.accounts.models import AccountRow
from hosthold.audit.models import AuditRow
from hosthold.auth.models import ApiTokenRow, MembershipRow, SessionRow, SignInLinkRow, UserRow
from hosthold.drift.models import DriftRow
from hosthold.nodes.models import NodeRow
from hosthold.packages.models import PackageRow
from hosthold.sites.models import CounterRow, DomainNameRow, SiteRow, SiteUsageRow
from hosthold.web.models import IdempotencyRow
from hosthold.work.models import DeliveryRow, EventRow, OperationRow, ScheduleRow

__all__ = [
    "AccountRow",
    "ApiTokenRow",
    "AuditRow",
    "CounterRow",
    "DeliveryRow",
    "DomainNameRow",
    "DriftRow",
    "EventRow",
    "IdempotencyRow",
    "MembershipRow",
    "NodeRow",
    "OperationRow",
    "PackageRow",
    "ScheduleRow",
    "SessionRow",
    "SignInLinkRow",
    "SiteRow",
    "SiteUsageRow",
    "UserRow",
]
