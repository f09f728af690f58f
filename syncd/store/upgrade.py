"""Alembic at work. Only imported where a store is not at this program's schema yet:
that is rare, and Alembic takes longer to load than most commands take altogether.
"""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def upgrade(connection: Connection) -> None:
    """Carry out every step that the store lacks, in the transaction it is given."""
    config = folder()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def folder() -> Config:
    """Where the steps are: inside the package, so that there is no alembic.ini."""
    config = Config()
    config.set_main_option("script_location", "syncd:store/migrations")
    config.set_main_option("path_separator", "os")
    return config
