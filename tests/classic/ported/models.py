"""The service's model."""

from __future__ import annotations

import datetime as dt

from tornado_couch.classic.model import Model


class Fruit(Model):
    def __init__(self, **kwargs):
        Model.__init__(self, **kwargs)

        if "doc" in kwargs:
            doc = kwargs["doc"]
            if doc["type"] != "fruit_v1.0":
                raise ValueError(f"unknown type {doc['type']}")
            self.fruit_id = doc["fruit_id"]
            self.color = doc["color"]
            self.created_on = dt.datetime.fromisoformat(doc["created_on"])
            self.updated_on = dt.datetime.fromisoformat(doc["updated_on"])
            return

        self.fruit_id = kwargs["fruit_id"]
        self.color = kwargs["color"]
        self.created_on = self.updated_on = self._utc_now()

    def as_doc_for_store(self):
        rv = Model.as_doc_for_store(self)
        rv["type"] = "fruit_v1.0"
        rv["fruit_id"] = self.fruit_id
        rv["color"] = self.color
        rv["created_on"] = self.created_on.isoformat()
        rv["updated_on"] = self.updated_on.isoformat()
        return rv

    def change_color(self, color):
        self.color = color
        self.updated_on = self._utc_now()

    @classmethod
    def _utc_now(cls):
        return dt.datetime.now(dt.UTC)
