"""The service's handlers. Tornado no longer has `@asynchronous`: a future stands where it stood."""

from __future__ import annotations

import asyncio
import functools
import http.client
import json
from typing import ClassVar

import jsonschema
import tornado.web

from tests.classic.ported.async_actions import (
    AsyncFruitCreator,
    AsyncFruitDeleter,
    AsyncFruitRetriever,
    AsyncFruitsRetriever,
    AsyncFruitUpdater,
)
from tornado_couch.classic import async_model_actions


def asynchronous(method):
    """What Tornado 4 had: the request goes on until `finish` is called."""

    @functools.wraps(method)
    async def wrapped(self, *args):
        self.done = asyncio.get_running_loop().create_future()
        method(self, *args)
        await self.done

    return wrapped


class RequestHandler(tornado.web.RequestHandler):
    post_and_put_request_schema: ClassVar = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "object",
        "properties": {"color": {"type": "string", "minLength": 1}},
        "required": ["color"],
        "additionalProperties": False,
    }

    def on_finish(self):
        done = getattr(self, "done", None)
        if done is not None and not done.done():
            done.set_result(None)

    def fruit_as_dict_for_response_body(self, fruit):
        return {
            "fruit_id": fruit.fruit_id,
            "color": fruit.color,
            "created_on": fruit.created_on.isoformat(),
            "updated_on": fruit.updated_on.isoformat(),
        }

    def get_json_request_body(self):
        try:
            json_body = json.loads(self.request.body)
            jsonschema.validate(json_body, self.post_and_put_request_schema)
        except (ValueError, jsonschema.ValidationError):
            return None
        return json_body

    def finish_with(self, status, body=None):
        self.set_status(status)
        if body is not None:
            self.write(json.dumps(body))
        self.finish()

    def on_fruit(self, is_ok, fruit, action):
        if not is_ok:
            self.finish_with(http.client.INTERNAL_SERVER_ERROR)
        elif fruit is None:
            self.finish_with(http.client.NOT_FOUND)
        else:
            self.finish_with(http.client.OK, self.fruit_as_dict_for_response_body(fruit))


class MultipleResourcesRequestHandler(RequestHandler):
    @asynchronous
    def post(self):
        request_body = self.get_json_request_body()
        if request_body is None:
            self.finish_with(http.client.BAD_REQUEST, {})
            return
        afc = AsyncFruitCreator(request_body["color"])
        afc.create(self._post_on_create_done)

    def _post_on_create_done(self, is_ok, fruit, afc):
        if not is_ok:
            self.finish_with(http.client.INTERNAL_SERVER_ERROR)
            return
        self.finish_with(http.client.CREATED, self.fruit_as_dict_for_response_body(fruit))

    @asynchronous
    def get(self):
        afr = AsyncFruitsRetriever()
        afr.fetch(self._get_on_fetch_done)

    def _get_on_fetch_done(self, is_ok, fruits, afr):
        if not is_ok:
            self.finish_with(http.client.INTERNAL_SERVER_ERROR)
            return
        self.finish_with(http.client.OK, [self.fruit_as_dict_for_response_body(fruit) for fruit in fruits])


class SingleResourceRequestHandler(RequestHandler):
    @asynchronous
    def get(self, fruit_id):
        afr = AsyncFruitRetriever(fruit_id)
        afr.fetch(self.on_fruit)

    @asynchronous
    def put(self, fruit_id):
        request_body = self.get_json_request_body()
        if request_body is None:
            self.finish_with(http.client.BAD_REQUEST, {})
            return
        afu = AsyncFruitUpdater(fruit_id, request_body["color"])
        afu.update(self.on_fruit)

    @asynchronous
    def delete(self, fruit_id):
        afd = AsyncFruitDeleter(fruit_id)
        afd.delete(self.on_fruit)


class HealthRequestHandler(RequestHandler):
    @asynchronous
    def get(self):
        ahc = async_model_actions.AsyncCouchDBHealthCheck()
        ahc.check(self._on_check_done)

    def _on_check_done(self, is_ok, ahc):
        self.finish_with(
            http.client.OK if is_ok else http.client.SERVICE_UNAVAILABLE, {"status": "green" if is_ok else "red"}
        )


class MetricsRequestHandler(RequestHandler):
    @asynchronous
    def get(self):
        admr = async_model_actions.AsyncDatabaseMetricsRetriever()
        admr.fetch(self._on_fetch_done)

    def _on_fetch_done(self, is_ok, metrics, admr):
        if not is_ok:
            self.finish_with(http.client.INTERNAL_SERVER_ERROR)
            return
        views = {
            each.design_doc: {
                "dataSize": each.data_size,
                "diskSize": each.disk_size,
                "fragmentation": each.fragmentation,
            }
            for each in metrics.view_metrics
        }
        body = {
            "database": {
                "docCount": metrics.doc_count,
                "dataSize": metrics.data_size,
                "diskSize": metrics.disk_size,
                "fragmentation": metrics.fragmentation,
                "views": views,
            }
        }
        self.finish_with(http.client.OK, body)


def make_app():
    return tornado.web.Application(
        [
            (r"/v1.0/fruits", MultipleResourcesRequestHandler),
            (r"/v1.0/fruits/([^/]+)", SingleResourceRequestHandler),
            (r"/v1.0/_health", HealthRequestHandler),
            (r"/v1.0/_metrics", MetricsRequestHandler),
        ]
    )
