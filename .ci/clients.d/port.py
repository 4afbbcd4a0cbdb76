"""Plays what clients of Port's API do against the catalog: port.py URL FIRST-ACCOUNT [PART-OF-A-STORYS-NAME].

The clients are those that users have: Port's AWS exporter, Ocean, the Terraform
provider, the Kubernetes exporter, the GitHub action. Each story calls as one of
them does, in its order, with its parameters and its way of escaping.
"""

import base64
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request

import check
from check import TEXT, Matcher, like, story
from cloud import Cloud

TIME = like(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
EXPORTER = "port-aws-exporter/0.1 (accountid/123456789012 region/eu-west-1)"
OCEAN = "port-ocean/aws-v3/1.2.3/shop/exporter"
TERRAFORM = "terraform-provider-port-labs/2.0.0"
KUBERNETES = "port-k8s-exporter/^0.3.4 (statekey/shop)"


def escape(identifier):
    """As Port's exporter does: everything."""
    return urllib.parse.quote(identifier, safe="")


class Port:
    """A client with a token of its own."""

    def __init__(self, t, agent):
        self.t, self.agent, self.token = t, agent, None
        status, got = self.call("POST", "auth/access_token", {"clientId": client_id(t), "clientSecret": client_secret()})
        t.has("a client id and secret get a token", got, {"ok": True, "accessToken": TEXT, "expiresIn": 10800, "tokenType": "Bearer"})
        t.is_("with 200", status, 200)
        self.token = got["accessToken"]

    def call(self, method, path, body=None, query="", text=None, token=None):
        """Status and body of the answer."""
        url = f"{self.t.cloud.url}/v1/{path}" + (f"?{query}" if query else "")
        data = text.encode() if text is not None else json.dumps(body, ensure_ascii=False).encode() if body is not None else None
        request = urllib.request.Request(url, data=data, method=method, headers={"User-Agent": self.agent})
        if data is not None:
            request.add_header("Content-Type", "application/json")
        if token or self.token:
            request.add_header("Authorization", f"Bearer {token or self.token}")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as e:
            return e.code, json.load(e)

    def ok(self, method, path, body=None, query="", status=200):
        """The answer of a call that must succeed."""
        code, got = self.call(method, path, body, query)
        self.t.is_(f"{method} {path} succeeds", (code, got.get("ok")), (status, True))
        return got

    def refused(self, rule, status, error, method, path, body=None, query="", says=None, text=None):
        code, got = self.call(method, path, body, query, text)
        self.t.is_(rule, (code, got.get("ok"), got.get("error") if error else None), (status, False, error))
        self.t.is_(f"{rule}: with a message", got.get("message"), TEXT)
        if says:
            self.t.is_(f"{rule}: which names {says}", says in json.dumps(got, ensure_ascii=False), True)


def client_id(t):
    return os.environ.get("RIALTO_ACCESS_KEY_ID", "000000000000")


def client_secret():
    return os.environ.get("RIALTO_SECRET_ACCESS_KEY", "secret")


def blueprint(port, identifier, properties=None, required=(), relations=None, **more):
    return port.ok(
        "POST", "blueprints",
        {
            "identifier": identifier, "title": identifier, "icon": "Service",
            "schema": {"properties": properties or {}, "required": list(required)}, "relations": relations or {}, **more,
        },
        status=201,
    )["blueprint"]


def entity(port, of, identifier, status=201, upsert=True, **more):
    return port.ok("POST", f"blueprints/{of}/entities", {"identifier": identifier, **more}, "upsert=true&merge=true" if upsert else "", status=status)["entity"]


def found(port, *rules, combinator="and", query=""):
    """Identifiers that a search finds."""
    return [e["identifier"] for e in port.ok("POST", "entities/search", {"combinator": combinator, "rules": list(rules)}, query)["entities"]]


def rule(prop, operator, value=None):
    return {"property": prop, "operator": operator, **({} if value is None else {"value": value})}


def same_set(*want):
    return Matcher(f"exactly {sorted(want)}", lambda v: isinstance(v, list) and sorted(v) == sorted(want))


@story
def tokens(t):
    port = Port(t, EXPORTER)
    claims = port.token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    t.has("the token is a JWT that says it is a machine's", claims, {"isMachine": True})
    if "RIALTO_ACCESS_KEY_ID" in os.environ:  # without keys any credentials are taken
        code, got = port.call("GET", "blueprints", token="no.such.token")
        t.is_("another token is refused in Port's shape", (code, got.get("ok")), (401, False))
        code, got = Port.call(port, "POST", "auth/access_token", {"clientId": client_id(t), "clientSecret": "wrong"})
        t.is_("a wrong secret gets no token", (code, got.get("ok")), (401, False))
    code, got = Port.call(port, "POST", "auth/access_token", {"clientId": 5})
    t.is_("a token request that is none is refused in Port's shape", (code in (400, 401, 422), got.get("ok")), (True, False))


@story
def aws_exporter(t):
    """Its calls, in its order: token, integration, upserts, search, deletions."""
    port = Port(t, EXPORTER)
    blueprint(port, "x_fn", {"arn": {"type": "string"}, "memory": {"type": "number"}, "link": {"type": "string", "format": "url"}, "arch": {"type": "string", "enum": ["x86_64", "arm64"]}, "tags": {"type": "array"}})
    integration = {"installationId": "eu-west-1:123456789012", "installationAppType": "AWS EXPORTER", "title": "AWS EXPORTER - eu-west-1:123456789012", "version": "0.1"}
    for _ in range(2):
        got = port.call("POST", "integration", integration, "upsert=true")
        t.is_("the integration is noted at every start", (got[0] in (200, 201), got[1]["ok"], got[1]["integration"]["installationId"]), (True, True, "eu-west-1:123456789012"))
    name = "arn:aws:lambda:eu-west-1:123456789012:function:订单/a+b"
    body = {"identifier": name, "properties": {"arn": name, "memory": 128, "link": None, "arch": None, "tags": [{"Key": "t", "Value": "上海"}]}}
    code, got = port.call("POST", "blueprints/x_fn/entities", body, "upsert=true&merge=true")
    t.is_("an upsert creates; null is taken for any property", (code, got["ok"]), (201, True))
    t.has("the entity is told", got["entity"], {"identifier": name, "blueprint": "x_fn", "team": [], "createdAt": TIME, "updatedAt": TIME, "relations": {}})
    body["properties"] = {"memory": 256, "arn": None}
    code, got = port.call("POST", "blueprints/x_fn/entities", body, "upsert=true&merge=true")
    t.is_("the second upsert merges", (code in (200, 201), got["entity"]["properties"].get("memory"), got["entity"]["properties"].get("arn", None), got["entity"]["properties"].get("tags")), (True, 256, None, [{"Key": "t", "Value": "上海"}]))
    entity(port, "x_fn", "second", properties={})
    code, got = port.call(
        "POST", "entities/search",
        {"combinator": "and", "rules": [rule("$datasource", "contains", "port-aws-exporter"), rule("$datasource", "contains", "accountid/123456789012 region/eu-west-1"), rule("$blueprint", "=", "x_fn")]},
        "exclude_calculated_properties=true&include=blueprint&include=identifier",
    )
    t.is_("its entities are found by their data source, with what is included alone", (code, sorted(got["entities"], key=lambda e: e["identifier"])), (200, [{"blueprint": "x_fn", "identifier": name}, {"blueprint": "x_fn", "identifier": "second"}]))
    code, got = port.call("DELETE", f"blueprints/x_fn/entities/{escape(name)}", query="delete_dependents=true")
    t.is_("an id with everything escaped is deleted", (code, got), (200, Matcher("ok", lambda v: v.get("ok") is True)))
    port.refused("what is not there cannot be deleted", 404, "not_found", "DELETE", f"blueprints/x_fn/entities/{escape(name)}", query="delete_dependents=true")
    t.is_("and the other is left", found(port, rule("$blueprint", "=", "x_fn")), ["second"])


@story
def ocean(t):
    port = Port(t, OCEAN)
    got = port.ok("GET", "organization")["organization"]
    t.has("the organization has no features that lead elsewhere", got, {"featureFlags": []})
    port.refused("an integration that is not there", 404, None, "GET", "integration/shop-none")
    port.call("POST", "integration", {"installationId": "shop-ocean", "installationAppType": "aws-v3", "title": "shop", "version": "1.2.3", "config": {}, "changelogDestination": {"type": "POLLING"}})
    got = port.ok("GET", "integration/shop-ocean", query="byField=installationId")["integration"]
    t.has("the integration comes back with where its logs go", got, {"installationId": "shop-ocean", "version": "1.2.3", "logAttributes": {"ingestId": TEXT, "ingestUrl": TEXT}})
    t.is_("and its metrics", (got["metricAttributes"]["ingestUrl"], got["ingestAttributes"]["ingestUrl"]), (TEXT, TEXT))
    port.ok("PATCH", "integration/shop-ocean/config", {"config": {"resources": []}})
    t.is_("its config is kept", port.ok("GET", "integration/shop-ocean")["integration"]["config"], {"resources": []})
    blueprint(port, "o_cluster")
    blueprint(port, "o_service", {"n": {"type": "number"}}, relations={"cluster": {"target": "o_cluster", "required": False, "many": False}})
    flags = "upsert=true&merge=true&create_missing_related_entities=false&ocean_info_event_type=resync&ocean_info_resync_id=r1&validation_only=false"
    port.refused("a missing relation is 404 not_found, so that the entity is tried again later", 404, "not_found", "POST", "blueprints/o_service/entities", {"identifier": "s", "relations": {"cluster": "c"}}, flags)
    t.is_("and nothing was written", found(port, rule("$blueprint", "=", "o_service")), [])
    bulk = [{"identifier": f"s{i}", "properties": {"n": i}} for i in range(19)] + [{"identifier": "bad", "properties": {"n": "no number"}}]
    code, got = port.call("POST", "blueprints/o_service/entities/bulk", {"entities": bulk}, flags)
    t.is_("a bulk with one bad entity is 207", (code, [e["identifier"] for e in got["errors"]], [e["index"] for e in got["errors"]], len(got["entities"])), (207, ["bad"], [19], 19))
    t.is_("the rest was created", all(e["created"] for e in got["entities"]), True)
    code, got = port.call("POST", "blueprints/o_service/entities/bulk", {"entities": bulk[:19]}, flags)
    t.is_("a good bulk is 200", (code, got["ok"], got.get("errors", []), [e["created"] for e in got["entities"]]), (200, True, [], [False] * 19))
    port.refused("21 entities are too many", 422, None, "POST", "blueprints/o_service/entities/bulk", {"entities": [{"identifier": f"x{i}"} for i in range(21)]}, flags)
    code, got = port.call("POST", "blueprints/o_service/entities", {"identifier": "s", "relations": {"cluster": "c"}}, flags.replace("entities=false", "entities=true"))
    t.is_("a missing related entity is created on demand", (code, got["entity"]["relations"], found(port, rule("$blueprint", "=", "o_cluster"))), (201, {"cluster": "c"}, ["c"]))
    page, seen = {"datasource_prefix": "port-ocean/aws-v3", "datasource_suffix": "/shop/exporter", "limit": 7}, []
    while True:
        got = port.ok("POST", "blueprints/entities/datasource-entities", page)
        seen += [(e["blueprint"], e["identifier"]) for e in got["entities"]]
        if not got.get("next"):
            break
        page["from"] = got["next"]
    t.is_("the entities of a data source come page by page, each once", (len(seen), len(set(seen)), set(seen) >= {("o_service", f"s{i}") for i in range(19)}), (21, 21, True))
    got = port.ok("POST", "blueprints/entities/datasource-entities", {"datasource_prefix": "port-ocean/aws-v3", "datasource_suffix": "/shop/exporter", "limit": 5000, "before": "2020-01-01T00:00:00.000Z"})
    t.is_("those updated since are left out", got["entities"], [])
    got = port.ok("POST", "blueprints/o_service/bulk/entities/delete", {"entities": [f"s{i}" for i in range(19)]}, "delete_dependents=true")
    t.is_("and they are deleted together", (len(got["deletedEntities"]), found(port, rule("$blueprint", "=", "o_service"))), (19, ["s"]))
    port.ok("PATCH", "blueprints/o_service", {"title": "Service 服务"})
    t.is_("a blueprint is patched", port.ok("GET", "blueprints/o_service")["blueprint"]["title"], "Service 服务")


@story
def terraform(t):
    port = Port(t, TERRAFORM)
    extra = {"properties": {"s": {"type": "string", "title": "S", "icon": "Lambda", "x-unknown": {"kept": True}}}, "required": []}
    body = {"identifier": "t_bp", "title": "Shop", "icon": "", "description": "", "schema": extra, "relations": {}, "mirrorProperties": {}, "calculationProperties": {}, "aggregationProperties": {}}
    made = port.ok("POST", "blueprints", body, "create_catalog_page=true", status=201)["blueprint"]
    t.has("a blueprint comes back as it was given, unknown keys too", made, {"identifier": "t_bp", "schema": extra, "createdAt": TIME, "updatedAt": TIME, "createdBy": TEXT})
    t.has("and is read back so", port.ok("GET", "blueprints/t_bp", query="exclude_calculated_properties=0xc000123456")["blueprint"], {"schema": extra, "relations": {}})
    port.refused("a second one of the name is refused", 409, "identifier_taken", "POST", "blueprints", body)
    made = port.ok("POST", "blueprints/t_bp/entities", {"identifier": "e", "title": "", "blueprint": "t_bp", "properties": {"s": "v"}, "relations": {}}, "upsert=true&run_id=", status=201)["entity"]
    t.has("an empty run is no run", made, {"identifier": "e", "team": [], "properties": {"s": "v"}})
    got = port.ok("POST", "entities/search", {"combinator": "and", "rules": [rule("$blueprint", "=", "t_bp")]}, "include=identifier,title&exclude_calculated_properties=0xc0001&attach_title_to_relation=0xc0002")
    t.is_("included fields are joined by commas, and pointers are no error", (got["entities"], got["matchingBlueprints"]), ([Matcher("the entity", lambda e: e["identifier"] == "e" and "properties" not in e)], ["t_bp"]))
    made = port.ok("POST", "blueprints/t_bp/entities", {"title": "made", "properties": {}}, status=201)["entity"]
    t.is_("an entity without identifier gets one", made["identifier"], TEXT)
    port.ok("PUT", f"blueprints/t_bp/entities/{made['identifier']}", {"identifier": "renamed", "title": "t", "properties": {}})
    t.is_("an identifier can change", sorted(found(port, rule("$blueprint", "=", "t_bp"))), ["e", "renamed"])
    port.ok("PUT", "blueprints/t_bp/entities/e", {"identifier": "e", "properties": {}, "relations": {}})
    t.is_("PUT replaces", port.ok("GET", "blueprints/t_bp/entities/e")["entity"]["properties"].get("s"), None)
    port.refused("a blueprint with entities stays", Matcher("4xx", lambda s: 400 <= s < 500), None, "DELETE", "blueprints/t_bp", says="has_dependents")
    port.refused("an entity that is not there is 404", 404, "not_found", "GET", "blueprints/t_bp/entities/none")
    port.refused("as is a blueprint", 404, "not_found", "GET", "blueprints/t_none")
    migration = port.ok("DELETE", "blueprints/t_bp/all-entities", query="delete_blueprint=true")["migrationId"]
    t.until("all entities go, in a migration", lambda: port.call("GET", f"migrations/{migration}")[1].get("migration", {}).get("status"), "COMPLETED")
    port.refused("and the blueprint with them", 404, "not_found", "GET", "blueprints/t_bp")


@story
def kubernetes(t):
    port = Port(t, KUBERNETES)
    blueprint(port, "k_pod", {"phase": {"type": "string"}})
    for i in range(3):
        entity(port, "k_pod", f"pod-{i}", properties={"phase": "Running"})
    entity(Port(t, "port-k8s-exporter/^0.3.4 (statekey/other)"), "k_pod", "foreign")
    mine = [rule("$datasource", "contains", "port-k8s-exporter"), rule("$datasource", "contains", "statekey/shop")]
    t.is_("each exporter finds its own", sorted(found(port, *mine, query="exclude_calculated_properties=true&include=blueprint&include=identifier")), ["pod-0", "pod-1", "pod-2"])


@story
def relations(t):
    port = Port(t, EXPORTER)
    blueprint(port, "r_region")
    blueprint(port, "r_cluster", relations={"region": {"target": "r_region", "required": True, "many": False}})
    blueprint(
        port, "r_service", {"cost": {"type": "number"}, "name": {"type": "string"}},
        relations={"clusters": {"target": "r_cluster", "required": False, "many": True}},
        mirrorProperties={"places": {"title": "Places", "path": "clusters.region.$identifier"}},
        calculationProperties={"twice": {"title": "Twice", "type": "number", "calculation": ".properties.cost * 2"}},
    )
    port.refused("a relation needs its target", Matcher("4xx", lambda s: 400 <= s < 500), None, "POST", "blueprints", {"identifier": "r_bad", "title": "x", "schema": {"properties": {}, "required": []}, "relations": {"a": {"target": "r_none", "required": False, "many": False}}}, says="r_none")
    for region in ("eu", "us"):
        entity(port, "r_region", region)
        entity(port, "r_cluster", f"c-{region}", relations={"region": region})
    port.refused("a required relation is required", 422, None, "POST", "blueprints/r_cluster/entities", {"identifier": "lost"}, says="region")
    entity(port, "r_service", "shop", properties={"cost": 21, "name": "商店"}, relations={"clusters": ["c-us", "c-eu"]})
    entity(port, "r_service", "mail", properties={"cost": 4})
    got = port.ok("GET", "blueprints/r_service/entities/shop")["entity"]
    t.is_("computed properties are read with the others", (sorted(got["properties"]["places"]), got["properties"]["twice"]), (["eu", "us"], 42))
    got = port.ok("GET", "blueprints/r_service/entities/shop", query="exclude_calculated_properties=true")["entity"]
    t.is_("unless they are not wanted", "twice" in got["properties"], False)
    t.is_("what depends on a region, through its clusters", found(port, {"operator": "relatedTo", "blueprint": "r_region", "value": "eu", "direction": "downstream"}, rule("$blueprint", "=", "r_service")), ["shop"])
    t.is_("what a service depends on", sorted(found(port, {"operator": "relatedTo", "blueprint": "r_service", "value": "shop", "direction": "upstream"})), ["c-eu", "c-us", "eu", "us"])
    port.ok("PATCH", "blueprints/r_service/entities/shop", {"relations": {"clusters": None}})
    t.is_("a relation is taken back by null", port.ok("GET", "blueprints/r_service/entities/shop")["entity"]["relations"]["clusters"], Matcher("none", lambda v: v in (None, [])))
    port.refused("what others need stays", Matcher("4xx", lambda s: 400 <= s < 500), None, "DELETE", "blueprints/r_region/entities/eu", query="delete_dependents=false", says="has_dependents")
    port.ok("DELETE", "blueprints/r_region/entities/eu", query="delete_dependents=true")
    t.is_("unless it is to go with it", sorted(found(port, rule("$blueprint", "in", ["r_region", "r_cluster"]))), ["c-us", "us"])


@story
def search(t):
    port = Port(t, EXPORTER)
    blueprint(port, "s_item", {"name": {"type": "string"}, "n": {"type": "number"}, "on": {"type": "boolean"}, "at": {"type": "string", "format": "date-time"}, "tags": {"type": "array", "items": {"type": "string"}}, "o": {"type": "object"}})
    items = {
        "a": {"name": "apple 苹果", "n": 1, "on": True, "at": "2026-01-01T00:00:00Z", "tags": ["red", "green"]},
        "b": {"name": "Banana", "n": 2.5, "on": False, "at": "2026-02-01T00:00:00Z", "tags": ["yellow"]},
        "c": {"name": "cherry", "n": -3, "at": "2026-03-01T00:00:00.5Z", "o": {"deep": [1]}},
        "d": {},
    }
    for identifier, properties in items.items():
        entity(port, "s_item", identifier, title=identifier.upper(), team=["shop"] if identifier < "c" else None, properties=properties)
    here = rule("$blueprint", "=", "s_item")
    for want, *rules in (
        ("a", rule("name", "=", "apple 苹果")), ("a", rule("name", "contains", "苹")), ("b", rule("name", "beginsWith", "Ban")), ("c", rule("name", "endsWith", "rry")),
        ("ab", rule("n", ">", 0)), ("abc", rule("n", ">=", -3)), ("c", rule("n", "<", 0)), ("b", rule("n", "=", 2.5)), ("ab", rule("n", "in", [1, 2.5])), ("a", rule("on", "=", True)),
        ("bc", rule("at", "between", {"from": "2026-01-15T00:00:00Z", "to": "2026-12-31T00:00:00Z"})), ("a", rule("tags", "containsAny", ["red", "blue"])), ("d", rule("name", "isEmpty")),
        ("abc", rule("name", "isNotEmpty")), ("ab", rule("$team", "containsAny", ["shop"])), ("ad", {"combinator": "or", "rules": [rule("$identifier", "=", "a"), rule("$title", "=", "D")]}),
        ("b", {"combinator": "and", "rules": [rule("n", ">", 0), rule("$identifier", "!=", "a")]}), ("", rule("$updatedAt", "between", {"preset": "yesterday"})), ("abcd", rule("$updatedAt", "between", {"preset": "lastMonth"})), ("abcd", rule("$updatedAt", "=", {"preset": "today"})),
    ):
        t.is_(f"a search by {json.dumps(rules, ensure_ascii=False)}", "".join(sorted(found(port, here, *rules))), want)
    pages, page = [], {"query": {"combinator": "and", "rules": [rule("n", "isNotEmpty")]}, "limit": 2}
    while True:
        got = port.ok("POST", "blueprints/s_item/entities/search", page)
        pages.append([e["identifier"] for e in got["entities"]])
        if not got.get("next"):
            break
        page["from"] = got["next"]
    t.is_("the search of a blueprint is paged in a stable order", pages, Matcher("pages of two and one", lambda p: [len(x) for x in p if x] == [2, 1] and sorted(sum(p, [])) == ["a", "b", "c"]))
    t.is_("and counted", port.ok("GET", "blueprints/s_item/entities-count")["count"], 4)
    for says, body in (
        ("rules[0]", {"combinator": "and", "rules": [rule("n", "near", 1)]}), ("combinator", {"combinator": "xor", "rules": []}), ("rules[1].rules[0]", {"combinator": "and", "rules": [here, {"combinator": "or", "rules": [{"operator": "="}]}]}),
    ):
        port.refused(f"a bad search {json.dumps(body)}", Matcher("4xx", lambda s: s in (400, 422)), None, "POST", "entities/search", body, says=says)


@story
def bad_input(t):
    port = Port(t, EXPORTER)
    blueprint(port, "b_item", {"n": {"type": "number", "minimum": 0}, "mail": {"type": "string", "format": "email"}, "kind": {"type": "string", "enum": ["a", "b"]}}, required=["n"])
    for says, body in (
        ("n", {"identifier": "x", "properties": {}}), ("n", {"identifier": "x", "properties": {"n": "1"}}), ("n", {"identifier": "x", "properties": {"n": -1}}), ("mail", {"identifier": "x", "properties": {"n": 1, "mail": "no"}}),
        ("kind", {"identifier": "x", "properties": {"n": 1, "kind": "c"}}), ("identifier", {"identifier": "a b", "properties": {"n": 1}}), ("identifier", {"identifier": "x" * 1001, "properties": {"n": 1}}), ("identifier", {"identifier": "..", "properties": {"n": 1}}),
        ("none", {"identifier": "x", "properties": {"n": 1}, "relations": {"none": "y"}}),
    ):
        port.refused(f"an entity {json.dumps(body)[:80]}", 422, None, "POST", "blueprints/b_item/entities", body, says=says)
    port.refused("a body of more than 1 MiB", 413, None, "POST", "blueprints/b_item/entities", {"identifier": "x", "properties": {"n": 1, "s": "x" * (1 << 20)}})
    port.refused("a body that is no JSON", Matcher("4xx", lambda s: s in (400, 422)), None, "POST", "blueprints/b_item/entities", text="{")
    port.refused("a blueprint that is not there", 404, "not_found", "POST", "blueprints/b_none/entities", {"identifier": "x"})
    for says, body in (
        ("identifier", {"title": "x", "schema": {"properties": {}}}), ("identifier", {"identifier": "b c", "title": "x", "schema": {"properties": {}, "required": []}}), ("type", {"identifier": "b_x", "title": "x", "schema": {"properties": {"p": {"type": "text"}}, "required": []}}),
        ("p.q", {"identifier": "b_x", "title": "x", "schema": {"properties": {"p.q": {"type": "string"}}, "required": []}}), ("calculation", {"identifier": "b_x", "title": "x", "schema": {"properties": {}, "required": []}, "calculationProperties": {"c": {"type": "number", "calculation": ".a |"}}}),
    ):
        port.refused(f"a blueprint {json.dumps(body)[:90]}", 422, None, "POST", "blueprints", body, says=says)
    port.call("POST", "blueprints/b_item/entities", {"identifier": "v", "properties": {"n": 1}}, "validation_only=true")
    t.is_("nothing of all that was kept", found(port, rule("$blueprint", "=", "b_item")), [])
    audits = port.ok("GET", "audit-log", query="blueprint=b_item")["audits"]
    t.is_("but the blueprint's creation is in the audit log", any(a["action"] == "CREATE" for a in audits), True)


if __name__ == "__main__":
    check.main(Cloud(sys.argv[1], int(sys.argv[2])), sys.argv[3:], threads=6)
