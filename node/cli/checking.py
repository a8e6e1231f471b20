"""What `ringmesh config check` looks at beyond the settings themselves. Nothing is changed."""

from pathlib import Path
from typing import Any

from dht.asn_map import load_asn_map
from federation.model.clocks import SystemClock
from node.certificates import Certificates
from node.config import Config
from node.own_certificate import CertificateNames
from node.state import StateFolder
from node.storage.database import Database

NO_NAMES = CertificateNames("", (), ())
"Those of the node's own certificate, which is not made here."


def check_node(config: Config, path: Path) -> dict[str, Any]:
    """Look at the state folder, the files that settings name, and the database.

    Raises:
        ConfigError, StorageError: `ringmesh up` would not do with them; the text says why.
    """
    folder = StateFolder.check(path)
    node = None
    if folder is not None and folder.has_node_key:
        node = folder.existing_node_key().id.text
    Certificates(config.tls, StateFolder(path), lambda: NO_NAMES, SystemClock()).check()
    if config.dht.asn_map is not None:
        load_asn_map(Path(config.dht.asn_map))
    schema = Database.check(path, config.storage.url)
    return {
        "state": str(path),
        "node_id": node,
        "database": config.storage.shown or str(path / "ringmesh.db"),
        "schema": schema,
    }
