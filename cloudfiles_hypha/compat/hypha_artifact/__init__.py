"""The interface of hypha-artifact: ``from cloudfiles_hypha.compat.hypha_artifact import AsyncHyphaArtifact``."""

from ...filesystem.artifact import HyphaArtifact
from ...filesystem.async_artifact import AsyncHyphaArtifact

__all__ = ["AsyncHyphaArtifact", "HyphaArtifact"]
