/**
 * The REST interface of the original broker, as exchanges: what its own command line sends, and what it expects.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as Vhosts from "../../../src/server/Vhosts.ts"
import { request } from "../../harness/admin.ts"
import * as Browser from "../../harness/Browser.ts"
import { TestBroker, token } from "../../harness/TestBroker.ts"
import { withBroker } from "../../harness/withBroker.ts"

const broker = withBroker({ admin: { port: 0 } })

/** One request, and the status, the headers and the body of its response. */
type Exchange = readonly [request: string, status: number, expected?: { readonly [name: string]: unknown } | object]

const exchange = Effect.fnUntraced(function*([line, status, expected]: Exchange) {
  const [method, path] = line.split(" ") as [string, string]
  const response = yield* request(method, path)
  assert.strictEqual(response.status, status, line)
  assert.match(response.headers["x-webrocket-cookie"] as string, /^[0-9a-f]{40}$/, line)
  if (status !== 405) assert.strictEqual(response.headers["content-type"], "application/json", line)
  const { allow, location } = response.headers
  const body: unknown = response.body === "" ? undefined : JSON.parse(response.body)
  const found = { ...allow === undefined ? {} : { allow }, ...location === undefined ? {} : { location } }
  assert.deepEqual(body ?? found, expected ?? {}, line)
})

const links = (all: Record<string, string>) => Object.entries(all).map(([rel, href]) => ({ rel, href }))

const channel = (name: string) => ({
  name,
  links: links({ self: `/test/channels/${name}`, vhost: "/test" })
})

describe("the REST interface of the original", () => {
  it.live("lists, adds, shows and deletes vhosts", () =>
    Effect.gen(function*() {
      yield* exchange(["GET /", 200, {
        vhosts: [{ path: "/test", accessToken: token, links: links({ self: "/test" }) }]
      }])
      yield* exchange(["POST /chat", 302, { location: "/chat" }])
      yield* exchange(["POST /chat", 400, { error: "vhost already exists" }])
      yield* exchange(["POST /a%20b", 400, { error: "invalid path" }])
      yield* exchange(["POST /eu/chat", 302, { location: "/eu/chat" }])
      const shown = yield* request("GET", "/chat")
      const { vhost } = JSON.parse(shown.body) as { vhost: { accessToken: string } }
      assert.match(vhost.accessToken, /^[0-9a-f]{40}$/)
      assert.deepEqual<unknown>(vhost, {
        path: "/chat",
        accessToken: vhost.accessToken,
        channels: { size: 0 },
        links: links({ channels: "/chat/channels", self: "/chat" })
      })
      yield* exchange(["GET /none", 404, { error: "vhost doesn't exist" }])
      yield* exchange(["DELETE /chat", 202])
      yield* exchange(["DELETE /chat", 404, { error: "vhost doesn't exist" }])
      yield* exchange(["GET /chat", 404, { error: "vhost doesn't exist" }])
      yield* exchange(["GET /eu/chat/channels", 200, { channels: [] }])
      yield* exchange(["DELETE /", 202])
      yield* exchange(["GET /", 200, { vhosts: [] }])
    }).pipe(broker))

  it.live("regenerates the access token of a vhost, and the old ones are none any more", () =>
    Effect.gen(function*() {
      const { vhost } = yield* TestBroker
      const other = yield* Vhosts.Vhosts.use(({ addToken }) => addToken("/test"))
      yield* exchange(["PUT /test/token", 302, { location: "/test" }])
      const [made, ...others] = vhost.tokens.list().map(Redacted.value)
      assert.deepEqual(others, [])
      assert.match(made!, /^[0-9a-f]{40}$/)
      assert.notInclude([token, Redacted.value(other)], made)
      yield* exchange(["GET /", 200, {
        vhosts: [{ path: "/test", accessToken: made, links: links({ self: "/test" }) }]
      }])
      yield* exchange(["PUT /none/token", 404, { error: "vhost doesn't exist" }])
      yield* exchange(["GET /test/token", 405, { allow: "PUT" }])
    }).pipe(broker))

  it.live("lists, opens, shows and closes channels", () =>
    Effect.gen(function*() {
      const { urls } = yield* TestBroker
      const channels = ["room", "presence-room", "private-room"].map(channel)
      yield* exchange(["GET /test/channels", 200, { channels }])
      yield* exchange(["POST /test/channels/hall", 302, { location: "/test/channels/hall" }])
      yield* exchange(["POST /test/channels/hall", 400, { error: "channel already exists" }])
      yield* exchange(["POST /test/channels/a%20b", 400, { error: "invalid channel name" }])
      yield* exchange(["POST /none/channels/hall", 404, { error: "vhost doesn't exist" }])
      const ann = yield* Browser.connect(urls.websocket)
      yield* ann.send({ subscribe: { channel: "hall" } })
      yield* ann.nextOf(":subscribed")
      const self = "/test/channels/hall"
      yield* exchange(["GET /test/channels/hall", 200, {
        channel: {
          name: "hall",
          subscribers: { size: 1 },
          links: links({ self, vhost: "/test", subscribers: `${self}/subscribers` })
        }
      }])
      yield* exchange(["GET /test/channels/none", 404, { error: "channel doesn't exist" }])
      yield* exchange(["DELETE /test/channels/hall", 202])
      yield* ann.nextOf(":unsubscribed")
      yield* exchange(["DELETE /test/channels/hall", 404, { error: "channel doesn't exist" }])
      yield* exchange(["DELETE /none/channels", 404, { error: "vhost doesn't exist" }])
      yield* exchange(["DELETE /test/channels", 202])
      yield* exchange(["GET /test/channels", 200, { channels: [] }])
    }).pipe(Effect.scoped, broker))

  it.live("lists more channels than one part has", () =>
    Effect.gen(function*() {
      const { vhost } = yield* TestBroker
      const names = Array.from({ length: 2500 }, (_, index) => `c${index}`)
      yield* Effect.forEach(names, vhost.channels.open, { discard: true })
      const { channels } = JSON.parse((yield* request("GET", "/test/channels")).body) as {
        channels: Array<{ name: string }>
      }
      assert.deepEqual(channels.slice(3).map(({ name }) => name), names)
    }).pipe(broker))

  it.live("has methods for each resource, and names them", () =>
    Effect.gen(function*() {
      yield* exchange(["PUT /", 405, { allow: "GET, DELETE" }])
      yield* exchange(["OPTIONS /test", 405, { allow: "POST, GET, DELETE" }])
      yield* exchange(["POST /test/channels", 405, { allow: "GET, DELETE" }])
      yield* exchange(["PATCH /test/channels/room", 405, { allow: "POST, GET, DELETE" }])
      yield* exchange(["DELETE /test/workers", 405, { allow: "GET" }])
      yield* exchange(["GET /test/workers", 200, { workers: [] }])
      yield* exchange(["GET /none/workers", 404, { error: "vhost doesn't exist" }])
      yield* exchange(["GET /test/channels/room/subscribers", 404, { error: "not found" }])
      yield* exchange(["GET /test/%zz", 404, { error: "not found" }])
      const head = yield* request("HEAD", "/test")
      assert.deepEqual([head.status, head.body], [200, ""])
    }).pipe(broker))

  it.live("refuses vhosts at the paths of other things", () =>
    Effect.forEach(
      ["/api", "/metrics", "/health", "/ready"],
      (path) => exchange([`POST ${path}`, 400, { error: "invalid path" }])
    ).pipe(broker))
})
