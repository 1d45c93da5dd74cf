"""Runs an administrator's step with the passwords of the environment: ``python -m deploy.compose.with_secrets MODULE [ARGUMENT ...]``.

Migrations and topology read passwords from a secrets file (``ORDERMESH_SECRETS_FILE``), which is what Kubernetes mounts. Compose has
environment variables: ``ORDERMESH_PASSWORD_SYNC`` is the password of the service sync (database role and broker user),
``ORDERMESH_PASSWORD_AUDIT`` that of the auditor's role, ``ORDERMESH_PASSWORD_3PL_EAST`` and ``ORDERMESH_PASSWORD_CHANNEL_WEBSHOP``
those of partners. The file is written where nothing survives the container, and removed when the step ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping

from shared.config import Partners
from shared.errors import BadConfiguration
from shared.messaging.topology import PartnerKind, partner_user_of, service_user_of
from shared.messaging.topology.tables import configured_partners, service_names
from shared.migrate import AUDITOR, role_of

PREFIX = "ORDERMESH_PASSWORD_"


def variable_of_partner(kind: PartnerKind, code: str) -> str:
    """The variable with the password of a partner's broker user."""
    return f"{PREFIX}{kind}_{code}".replace("-", "_").upper()


def secrets_document(services: Iterable[str], partners: Partners, environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The content of the secrets file.

    Raises:
        BadConfiguration: names the variables that are missing.
    """
    of_service = {service: f"{PREFIX}{service.upper()}" for service in services}
    of_partner = {partner_user_of("channel", channel.code): variable_of_partner("channel", channel.code) for channel in partners.channels}
    of_partner |= {partner_user_of("3pl", third.code): variable_of_partner("3pl", third.code) for third in partners.third_party_logistics}
    auditor = f"{PREFIX}AUDIT"
    missing = [name for name in [*of_service.values(), *of_partner.values(), auditor] if not environment.get(name)]
    if missing:
        raise BadConfiguration(f"no password in {', '.join(missing)}: set them in .env or in docker-compose.yml")
    roles = {role_of(service): environment[variable] for service, variable in of_service.items()}
    users = {service_user_of(service): environment[variable] for service, variable in of_service.items()}
    return {
        "database_roles": {**roles, AUDITOR: environment[auditor]},
        "broker_users": {**users, **{user: environment[variable] for user, variable in of_partner.items()}},
    }


def main() -> None:
    """Command line entry; ends with the exit code of the step."""
    if len(sys.argv) < 2:
        sys.exit("usage: python -m deploy.compose.with_secrets MODULE [ARGUMENT ...]")
    try:
        document = secrets_document(service_names(), configured_partners(), os.environ)
    except BadConfiguration as error:
        sys.exit(str(error))
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(document, file)
        file.flush()
        step = subprocess.run([sys.executable, "-m", *sys.argv[1:]], env={**os.environ, "ORDERMESH_SECRETS_FILE": file.name}, check=False)
    sys.exit(step.returncode)


if __name__ == "__main__":
    main()
