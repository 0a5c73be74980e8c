"""Models: what a document holds, and what follows from it. Pure: nothing here does I/O."""

from __future__ import annotations

from .classification import Classification, Encrypted, Hashed, Place, Public, StoredHash, run_slow
from .design_document import (
    CONFLICTS_VIEW,
    collection_view,
    conflicts_design_document,
    deleted_view,
    design_documents,
    reduction_view,
)
from .documents import (
    classes_of,
    computed_values,
    from_document,
    is_of,
    is_outdated,
    replaced,
    representation,
    stamped,
    to_document,
    upgraded,
    validated,
)
from .forms import check_repaired, reading_partially
from .forms.references import Relation, referring
from .merger import Merging, merge_rule
from .merging.ancestry import MERGE_PROPERTY, Ancestry, Join, MergedBy, Plan, merge_record
from .merging.rules import Merge, MergeRule
from .model import DocumentType, Model, ModelInfo, model_info
from .pointers import faults
from .properties import (
    WRITE_PROPERTY,
    Computed,
    CreatedOn,
    Generated,
    Indexed,
    Key,
    Property,
    ReadOnly,
    Reference,
    Timestamp,
    UpdatedOn,
    WriteOnly,
    assigned,
    blind_index_member,
)
from .schema.at_rest import schema_at_rest
from .schema.bodies import Action, ValueSchema, body_problems, body_schema
from .schema.patch import json_patch, merge_patch
from .schema.validate_doc_update import VALIDATION_DOCUMENT, DatabaseCheck, database_check
from .timestamps import format_timestamp, is_timestamp, utc_now
from .upgrades import upgrade
from .versions import (
    DELETED_PROPERTY,
    LAST_NUMBER,
    VERSION_PROPERTY,
    Version,
    beside,
    bound_id,
    deleted_on,
    is_deleted,
    version_id,
    version_of,
    version_prefix,
)
from .views.derived import AFTER_PREFIX, Derived, code_key
from .views.indexes import Index
from .views.partitions import partition_of, partition_problem, partition_view
from .views.reductions import Count, Reduction, Stats, Sum

__all__ = [
    "AFTER_PREFIX",
    "CONFLICTS_VIEW",
    "DELETED_PROPERTY",
    "LAST_NUMBER",
    "MERGE_PROPERTY",
    "VALIDATION_DOCUMENT",
    "VERSION_PROPERTY",
    "WRITE_PROPERTY",
    "Action",
    "Ancestry",
    "Classification",
    "Computed",
    "Count",
    "CreatedOn",
    "DatabaseCheck",
    "Derived",
    "DocumentType",
    "Encrypted",
    "Generated",
    "Hashed",
    "Index",
    "Indexed",
    "Join",
    "Key",
    "Merge",
    "MergeRule",
    "MergedBy",
    "Merging",
    "Model",
    "ModelInfo",
    "Place",
    "Plan",
    "Property",
    "Public",
    "ReadOnly",
    "Reduction",
    "Reference",
    "Relation",
    "Stats",
    "StoredHash",
    "Sum",
    "Timestamp",
    "UpdatedOn",
    "ValueSchema",
    "Version",
    "WriteOnly",
    "assigned",
    "beside",
    "blind_index_member",
    "body_problems",
    "body_schema",
    "bound_id",
    "check_repaired",
    "classes_of",
    "code_key",
    "collection_view",
    "computed_values",
    "conflicts_design_document",
    "database_check",
    "deleted_on",
    "deleted_view",
    "design_documents",
    "faults",
    "format_timestamp",
    "from_document",
    "is_deleted",
    "is_of",
    "is_outdated",
    "is_timestamp",
    "json_patch",
    "merge_patch",
    "merge_record",
    "merge_rule",
    "model_info",
    "partition_of",
    "partition_problem",
    "partition_view",
    "reading_partially",
    "reduction_view",
    "referring",
    "replaced",
    "representation",
    "run_slow",
    "schema_at_rest",
    "stamped",
    "to_document",
    "upgrade",
    "upgraded",
    "utc_now",
    "validated",
    "version_id",
    "version_of",
    "version_prefix",
]
