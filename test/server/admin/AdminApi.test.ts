import { assert, describe, it } from "@effect/vitest"
import { Effect, Queue, Redacted, Stream } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import { HttpApiClient } from "effect/http-api"
import { TestClock } from "effect/testing"
import { readFileSync } from "node:fs"
import { AdminApi } from "../../../src/server/admin/AdminApi.ts"
import { version } from "../../../src/server/admin/Version.ts"
import { bound, header, request, sendAsStranger } from "../../harness/admin.ts"
import { ackingWorker, transports } from "../../harness/backends.ts"
import * as Browser from "../../harness/Browser.ts"
import { eventually } from "../../harness/eventually.ts"
import * as RawWebSocket from "../../harness/RawWebSocket.ts"
import { TestBroker, token } from "../../harness/TestBroker.ts"
import { withBroker } from "../../harness/withBroker.ts"

const broker = withBroker({ admin: { port: 0 } })

/** The typed client, with the cookie. */
const client = Effect.flatMap(bound, ({ address, cookie }) =>
  HttpApiClient.make(AdminApi, {
    baseUrl: address,
    transformClient: HttpClient.mapRequest(HttpClientRequest.setHeader(header, Redacted.value(cookie)))
  })).pipe(Effect.provide(FetchHttpClient.layer))

const vhost = "/test"

/** All endpoints, as they are called: values for what a path names. */
const calls = Object.values(AdminApi.groups).flatMap(({ endpoints }) =>
  Object.values(endpoints).map(({ method, path }) => ({
    method,
    path: path.replace(":vhost", "test").replace(":channel", "room").replace(/:\w+/, "some")
  }))
)

describe("the admin API", () => {
  it.live("answers no call without the cookie, or with a wrong one", () =>
    Effect.gen(function*() {
      assert.isAbove(calls.length, 20)
      yield* Effect.forEach(calls, ({ method, path }) =>
        Effect.gen(function*() {
          for (const headers of [{}, { [header]: token }]) {
            const { body, headers: received, status } = yield* sendAsStranger(method, path, { headers })
            assert.deepEqual([status, body, received[header]], [403, "", undefined], `${method} ${path}`)
          }
        }), { concurrency: 12, discard: true })
      const { vhosts } = yield* client
      const { counts } = yield* vhosts.get({ params: { vhost } })
      assert.strictEqual(counts.channels, 3)
    }).pipe(broker))

  it.effect("says for how long the broker is up, whenever it is asked first", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("90 seconds")
      const { body } = yield* request("GET", "/api/status")
      assert.strictEqual(JSON.parse(body).uptime, 90)
    }).pipe(broker))

  it.live("has a page and a document of it, for everybody, from this host alone", () =>
    Effect.gen(function*() {
      const page = yield* sendAsStranger("GET", "/api")
      assert.strictEqual(page.status, 200)
      assert.include(page.headers["content-security-policy"], "default-src 'none'")
      assert.notMatch(page.body, /<(script|link)[^>]* (src|href)=/)
      const document = yield* sendAsStranger("GET", "/api/openapi.json")
      const { components, info, paths } = JSON.parse(document.body) as Record<string, any>
      assert.deepInclude(components.securitySchemes.cookie, {
        type: "apiKey",
        name: "X-WebRocket-Cookie",
        in: "header"
      })
      assert.strictEqual(info.version, version)
      for (const methods of Object.values<Record<string, any>>(paths)) {
        for (const { responses, summary } of Object.values(methods)) {
          // What the page shows beside the path, and of each failure.
          assert.match(summary, /^[A-Z].{5,60}$/)
          for (const { description } of Object.values<any>(responses)) assert.notInclude(description, "kosmonaut/")
        }
      }
      assert.notInclude(document.body, "-9007199254740991")
      assert.include(Object.keys(paths), "/api/vhosts/{vhost}/channels/{channel}")
    }).pipe(broker))

  it.live("has an overview of the broker, whose counters grow, and its slow browsers", () =>
    Effect.gen(function*() {
      const { urls, vhost } = yield* TestBroker
      const { broker } = yield* client
      const before = yield* broker.overview()
      const browser = yield* Browser.connect(urls.websocket)
      yield* browser.send({ subscribe: { channel: "room" } })
      yield* browser.nextOf(":subscribed")
      for (let n = 0; n < 3; n++) {
        yield* vhost.channels.broadcast("room", "said", { n })
        yield* browser.nextOf("said")
      }
      yield* vhost.lobby.enqueue(`{"e":{}}`)
      const begun = performance.now()
      yield* eventually(Effect.sync(() => performance.now() - begun), (passed) => passed > 20)
      const after = yield* broker.overview()
      assert.isAbove(after.at, before.at)
      assert.strictEqual(after.totals.deliveries - before.totals.deliveries, 3)
      assert.deepInclude(after.counts, { browsers: 1, queued: 1 })
      assert.isAtLeast(after.oldestSeconds, 0.02)
      assert.isAbove(after.memory, 1_000_000)
      const measured = ({ lag }: typeof after) => lag.broadcasts.counts.at(-1)!
      assert.strictEqual(measured(after) - measured(before), 3)
      assert.strictEqual(after.lag.broadcasts.counts.length, after.lag.broadcasts.bounds.length + 1)
      assert.deepEqual(after.blocked, { browsers: 0, bytes: 0 })
      assert.deepEqual(yield* broker.slowBrowsers(), { items: [] })
      // One that does not read.
      const slow = yield* RawWebSocket.connect((yield* TestBroker).broker.websocketPort, "/test")
      yield* eventually(Effect.sync(() => vhost.browsers.count()), (count) => count === 2)
      slow.socket.pause()
      const text = "x".repeat(200_000)
      const blocked = Effect.gen(function*() {
        for (const { browser: { sid } } of [...vhost.browsers.list()].slice(1)) {
          yield* vhost.browsers.sendTo(sid, "said", { text })
        }
        return yield* broker.overview()
      })
      const { blocked: { browsers, bytes } } = yield* eventually(blocked, ({ blocked }) => blocked.browsers === 1)
      assert.deepEqual([browsers, bytes > 0], [1, true])
      const { items: [slowest, ...others] } = yield* broker.slowBrowsers()
      assert.deepInclude(slowest, { vhost: "/test", version: 0 })
      assert.isAbove(slowest!.queuedBytes!, 100_000)
      assert.deepEqual(others, [])
    }).pipe(Effect.scoped, broker))

  it.live("adds, lists, shows and removes vhosts", () =>
    Effect.gen(function*() {
      const { broker: whole, vhosts } = yield* client
      const added = yield* vhosts.add({ payload: { path: "/eu/chat", channels: ["a", "b"] } })
      assert.strictEqual(added.counts.channels, 2)
      assert.deepEqual(yield* vhosts.get({ params: { vhost: "/eu/chat" } }), added)
      assert.match(added.token, /^[0-9a-f]{40}$/)
      const given = yield* vhosts.add({ payload: { path: "/given", token } })
      assert.strictEqual(given.token, token)
      const first = yield* vhosts.list({ query: { limit: 2 } })
      assert.deepEqual(first.items.map(({ path }) => path), ["/test", "/eu/chat"])
      const second = yield* vhosts.list({ query: { limit: 2, after: first.next! } })
      assert.deepEqual(second.items.map(({ path }) => path), ["/given"])
      assert.isFalse("next" in second)
      const status = yield* whole.status()
      assert.strictEqual(status.vhosts, 3)
      assert.strictEqual(status.version, JSON.parse(readFileSync("package.json", "utf8")).version)

      const reject = (path: string, options?: { readonly token?: string; readonly channels?: ReadonlyArray<string> }) =>
        Effect.map(Effect.flip(vhosts.add({ payload: { path, ...options } })), (error) => [error._tag, error.message])
      assert.deepEqual(yield* reject("/given"), ["AlreadyExistsError", "The vhost /given exists already"])
      assert.deepEqual((yield* reject("given"))[0], "InvalidError")
      assert.deepEqual((yield* reject("/api/x"))[0], "InvalidError")
      assert.deepEqual((yield* reject("/c", { token: "short" }))[0], "InvalidError")
      assert.deepEqual((yield* reject("/c", { channels: ["a b"] }))[0], "InvalidError")
      yield* vhosts.remove({ params: { vhost: "/eu/chat" } })
      for (const again of [vhosts.remove({ params: { vhost: "/eu/chat" } }), vhosts.get({ params: { vhost: "/c" } })]) {
        assert.strictEqual((yield* Effect.flip(again))._tag, "NotFoundError")
      }
    }).pipe(broker))

  it.live("adds, removes and regenerates access tokens, which no path has", () =>
    Effect.gen(function*() {
      const { tokens, vhosts } = yield* client
      const params = { vhost }
      const all = Effect.map(tokens.list({ params }), ({ tokens }) => tokens)
      assert.deepEqual(yield* all, [token])
      const { token: second } = yield* tokens.add({ params, payload: {} })
      assert.match(second, /^[0-9a-f]{40}$/)
      const given = "g".repeat(40)
      assert.deepEqual(yield* tokens.add({ params, payload: { token: given } }), { token: given })
      assert.deepEqual(yield* all, [token, second, given])
      assert.include(yield* vhosts.get({ params }), { token, tokens: 3 })
      yield* tokens.remove({ params, payload: { token } })
      assert.include(yield* vhosts.get({ params }), { token: second, tokens: 2 })
      const tagOf = <A, E extends { readonly _tag: string }, R>(call: Effect.Effect<A, E, R>) =>
        Effect.map(Effect.flip(call), ({ _tag }) => _tag)
      assert.strictEqual(yield* tagOf(tokens.remove({ params, payload: { token } })), "NotFoundError")
      assert.strictEqual(yield* tagOf(tokens.add({ params, payload: { token: "short" } })), "InvalidError")
      const { token: made } = yield* tokens.regenerate({ params })
      assert.deepEqual(yield* all, [made])
      assert.strictEqual(yield* tagOf(tokens.remove({ params, payload: { token: made } })), "InvalidError")
      const none = { vhost: "/none" }
      assert.strictEqual(yield* tagOf(tokens.list({ params: none })), "NotFoundError")
      assert.strictEqual(yield* tagOf(tokens.regenerate({ params: none })), "NotFoundError")
      assert.strictEqual(yield* tagOf(tokens.add({ params: none, payload: {} })), "NotFoundError")
      for (const { path } of calls) assert.notInclude(path, ":token")
    }).pipe(broker))

  it.live("reads and sets the rules of a vhost's channels", () =>
    Effect.gen(function*() {
      const { vhost: engine } = yield* TestBroker
      const { channelRules } = yield* client
      const params = { vhost }
      assert.deepEqual(yield* channelRules.get({ params }), { rules: [] })
      const set = yield* channelRules.set({
        params,
        payload: {
          rules: [
            { pattern: "news-.*", openOnDemand: true, history: { count: 5, size: "4KiB", age: "1h" }, grace: "10s" },
            { pattern: "price-.*", latest: true, maxSubscribers: "unlimited" }
          ]
        }
      })
      const defaults = { openOnDemand: false, history: false, presence: true, grace: "3s", latest: false }
      assert.deepEqual(set.rules, [
        {
          ...defaults,
          pattern: "news-.*",
          openOnDemand: true,
          history: { count: 5, size: 4096, age: "3600s" },
          grace: "10s",
          maxSubscribers: "unlimited"
        },
        { ...defaults, pattern: "price-.*", latest: true, maxSubscribers: "unlimited" }
      ])
      assert.deepEqual(yield* channelRules.get({ params }), set)
      // What is answered can be sent again.
      assert.deepEqual(yield* channelRules.set({ params, payload: set }), set)
      yield* engine.channels.broadcast("news-1", "said", {})
      assert.strictEqual((yield* engine.channels.describe("news-1")).name, "news-1")

      const put = (rules: unknown) =>
        Effect.map(
          request("PUT", "/api/vhosts/test/channel-rules", {
            body: JSON.stringify({ rules }),
            headers: { "content-type": "application/json" }
          }),
          ({ body, status }) => [status, JSON.parse(body).message as string] as const
        )
      for (
        const [rules, about] of [
          [[{ pattern: "(" }], "("],
          [[{ pattern: "a", grace: "soon" }], "grace"],
          [[{ pattern: "a", openOnDemnd: true }], "openOnDemnd"],
          [[{ openOnDemand: true }], "pattern"],
          [Array.from({ length: 101 }, () => ({ pattern: "a" })), "100"]
        ] as const
      ) {
        const [status, message] = yield* put(rules)
        assert.strictEqual(status, 400, message)
        assert.include(message, about)
      }
      assert.deepEqual(yield* channelRules.get({ params }), set)
      assert.deepEqual(yield* channelRules.set({ params, payload: { rules: [] } }), { rules: [] })
      assert.strictEqual(
        (yield* Effect.flip(channelRules.get({ params: { vhost: "/none" } })))._tag,
        "NotFoundError"
      )
    }).pipe(broker))

  it.live("opens, lists and closes channels, and lists their subscribers", () =>
    Effect.gen(function*() {
      const { urls, vhost: engine } = yield* TestBroker
      const { channels } = yield* client
      const open = (channel: string) => channels.open({ params: { vhost, channel } })
      assert.deepEqual(yield* open("hall-1"), { name: "hall-1", kind: "normal", subscribers: 0 })
      assert.deepEqual(yield* open("hall-1"), { name: "hall-1", kind: "normal", subscribers: 0 })
      yield* open("hall-2")
      assert.strictEqual((yield* Effect.flip(open("a b")))._tag, "InvalidError")
      assert.strictEqual((yield* open("a".repeat(255))).name.length, 255)
      const page = (query: { readonly after?: number; readonly limit?: number; readonly prefix?: string }) =>
        channels.list({ params: { vhost }, query })
      const first = yield* page({ prefix: "hall", limit: 1 })
      assert.deepEqual(first.items.map(({ name }) => name), ["hall-1"])
      const second = yield* page({ prefix: "hall", limit: 1, after: first.next! })
      assert.deepEqual([second.items.map(({ name }) => name), second.next], [["hall-2"], undefined])
      for (const query of ["limit=0", "limit=1001", "after=-1", "limit=x", "prefx=a"]) {
        const { body, status } = yield* request("GET", `/api/vhosts/test/channels?${query}`)
        assert.deepEqual([status, JSON.parse(body)._tag], [400, "InvalidError"])
      }

      const names = ["ann", "joe", "eve"]
      const sids = yield* Effect.forEach(names, (uid) =>
        Effect.gen(function*() {
          const browser = yield* Browser.connect(urls.websocket)
          const single = yield* engine.accessTokens.issue(uid, ".*")
          yield* browser.send({ auth: { token: Redacted.value(single) } })
          yield* browser.send({ subscribe: { channel: "presence-room", hidden: uid === "joe", data: { n: uid } } })
          yield* browser.nextOf(":subscribed")
          return browser.sid
        }))
      const params = { vhost, channel: "presence-room" }
      assert.strictEqual((yield* channels.get({ params })).subscribers, 3)
      const some = yield* channels.subscribers({ params, query: { limit: 1 } })
      const rest = yield* channels.subscribers({ params, query: { after: some.next! } })
      assert.deepEqual([...some.items, ...rest.items], [
        { sid: sids[0]!, uid: "ann", data: { n: "ann" } },
        { sid: sids[2]!, uid: "eve", data: { n: "eve" } }
      ])
      yield* channels.close({ params })
      assert.strictEqual((yield* Effect.flip(channels.close({ params })))._tag, "NotFoundError")
      assert.strictEqual((yield* Effect.flip(channels.subscribers({ params, query: {} })))._tag, "NotFoundError")
      assert.strictEqual(
        (yield* Effect.flip(
          open("x").pipe(Effect.andThen(channels.get({
            params: { vhost: "/none", channel: "x" }
          })))
        ))._tag,
        "NotFoundError"
      )
    }).pipe(Effect.scoped, broker))

  it.live("lists browsers, and disconnects one, or all of a user", () =>
    Effect.gen(function*() {
      const { urls, vhost: engine } = yield* TestBroker
      const { browsers } = yield* client
      const all = yield* Effect.forEach(["ann", "joe", "joe"], (uid) =>
        Effect.gen(function*() {
          const browser = yield* Browser.connect(urls.websocket)
          yield* browser.send({ auth: { token: Redacted.value(yield* engine.accessTokens.issue(uid, ".*")) } })
          yield* browser.nextOf(":authenticated")
          return browser
        }))
      yield* all[0]!.send({ subscribe: { channel: "room" } })
      yield* all[0]!.nextOf(":subscribed")
      const [ann, joe, again] = all.map(({ sid }) => sid)
      const list = (query: { readonly after?: number; readonly limit?: number }) =>
        browsers.list({ params: { vhost }, query })
      const first = yield* list({ limit: 2 })
      assert.deepEqual(first.items.map(({ seconds: _, ...item }) => item), [
        { sid: ann!, uid: "ann", version: 0, subscriptions: 1, address: "127.0.0.1", queuedBytes: 0 },
        { sid: joe!, uid: "joe", version: 0, subscriptions: 0, address: "127.0.0.1", queuedBytes: 0 }
      ])
      const [elder, younger] = first.items.map(({ seconds }) => seconds!)
      assert.isAtLeast(elder!, younger!)
      // One that was listed goes, and the next part is what it was.
      assert.deepEqual(yield* browsers.disconnect({ params: { vhost, sid: ann! } }), { disconnected: 1 })
      assert.strictEqual(yield* all[0]!.closed, 4403)
      assert.deepEqual((yield* list({ after: first.next! })).items.map(({ sid }) => sid), [again])
      assert.strictEqual(
        (yield* Effect.flip(browsers.disconnect({ params: { vhost, sid: "x" } })))._tag,
        "NotFoundError"
      )
      const left = yield* browsers.disconnectUser({ params: { vhost, uid: "joe" } })
      assert.deepEqual(left, { disconnected: 2 })
      const none = yield* browsers.disconnectUser({ params: { vhost, uid: `a/b c?${"ż".repeat(990)}` } })
      assert.deepEqual(none, { disconnected: 0 })
      yield* eventually(list({}), ({ items }) => items.length === 0)
    }).pipe(Effect.scoped, broker))

  it.live("lists workers, and says what waits for them", () =>
    Effect.gen(function*() {
      const { vhost: { lobby } } = yield* TestBroker
      const { workers } = yield* client
      yield* lobby.enqueue(`{"e":{"n":1}}`)
      const queue = workers.queue({ params: { vhost } })
      const { events, requests } = yield* queue
      assert.deepEqual([events.queued, events.unacked, typeof events.oldestSeconds], [1, 0, "number"])
      assert.deepEqual(requests, { queued: 0, unacked: 0 })
      yield* ackingWorker(transports[0]!.connect, 7)
      yield* eventually(queue, ({ events }) => events.unacked === 1)
      assert.deepEqual((yield* queue).events, { queued: 0, unacked: 1 })
      const { items: [worker], next } = yield* workers.list({ params: { vhost }, query: {} })
      assert.strictEqual(next, undefined)
      assert.isAtLeast(worker!.seconds, 0)
      assert.include(worker, { unacked: 1, prefetch: 7, requests: false, lifecycle: false })
      assert.match(worker!.id, /^[0-9a-f-]{36}$/)
    }).pipe(Effect.scoped, broker))

  it.live("lists dead letters, and replays and discards them", () =>
    Effect.gen(function*() {
      const { vhost: engine } = yield* TestBroker
      const { deadLetters } = yield* client
      const add = (id: string, json: string) =>
        engine.deadLetters.add({ id, json, origin: undefined, attempts: 2, reason: "no luck" })
      yield* add("a-0", `{"save":{"n":1}}`)
      yield* add("a-1", JSON.stringify({ large: { text: "x".repeat(20_000) } }))
      yield* add("a-2", `{"save":{"n":3}}`)
      const params = { vhost }
      const first = yield* deadLetters.list({ params, query: { limit: 2 } })
      const { failedAt } = first.items[0]!
      assert.deepEqual(first.items, [
        { id: "a-0", event: "save", data: { n: 1 }, size: 16, attempts: 2, reason: "no luck", failedAt },
        { id: "a-1", event: "large", size: 20_021, attempts: 2, reason: "no luck", failedAt: first.items[1]!.failedAt }
      ])
      const second = yield* deadLetters.list({ params, query: { after: first.next! } })
      assert.deepEqual(second.items.map(({ id }) => id), ["a-2"])
      yield* deadLetters.replay({ params: { vhost, id: "a-0" } })
      yield* deadLetters.discard({ params: { vhost, id: "a-1" } })
      for (const again of [deadLetters.replay, deadLetters.discard]) {
        assert.strictEqual((yield* Effect.flip(again({ params: { vhost, id: "a-1" } })))._tag, "NotFoundError")
      }
      assert.deepEqual(yield* deadLetters.replayAll({ params }), { replayed: 1, left: 0 })
      assert.strictEqual(engine.lobby.counters.queued, 2)
      yield* add("a-3", `{"save":{"n":4}}`)
      assert.deepEqual(yield* deadLetters.discardAll({ params }), { discarded: 1 })
    }).pipe(broker))

  it.live("says which body it cannot read", () =>
    Effect.gen(function*() {
      const post = (body: string, type = "application/json") =>
        Effect.map(
          request("POST", "/api/vhosts", { body, headers: { "content-type": type } }),
          ({ status }) => status
        )
      // A first request of another kind must not leave anything behind for the next ones.
      assert.strictEqual((yield* request("GET", "/api/status")).status, 200)
      assert.strictEqual(yield* post(`{"path":"/a"}`), 200)
      assert.strictEqual(yield* post(`{"path":`), 400)
      assert.strictEqual(yield* post(`{"path":1}`), 400)
      assert.strictEqual(yield* post(`{"path":"/b","chanels":["a"]}`), 400)
      assert.strictEqual(yield* post("[".repeat(60_000)), 400)
      assert.strictEqual(yield* post("path=/a", "text/plain"), 415)
      assert.strictEqual(yield* post(JSON.stringify({ path: "a".repeat(70_000) })), 413)
      for (const path of ["/api/", "/api/none", "/api//status", "/api/vhosts/test/channels/%zz"]) {
        assert.strictEqual((yield* request("GET", path)).status, 404, path)
      }
      assert.strictEqual((yield* request("PATCH", "/api/vhosts")).status, 404)
    }).pipe(broker))
})

/** Reads a tail for the scope: its next item. */
const reading = Effect.fnUntraced(function*<A, E>(tail: Stream.Stream<A, E>) {
  const items = yield* Queue.unbounded<A>()
  yield* Effect.forkScoped(Stream.runForEach(tail, (item) => Queue.offer(items, item)), { startImmediately: true })
  return Queue.take(items)
})

describe("a live tail", () => {
  it.live("of a channel has what is broadcast from then on, to whomever, and ends with the channel", () =>
    Effect.gen(function*() {
      const { vhost: { channels: engine } } = yield* TestBroker
      const { channels } = yield* client
      const params = { vhost, channel: "room" }
      yield* engine.broadcast("room", "said", { n: 0 })
      const next = yield* reading(yield* channels.tail({ params }))
      assert.deepEqual(yield* next, { _tag: "Alive" })
      yield* engine.broadcast("room", "said", { n: 1 })
      yield* engine.broadcast("presence-room", "said", { n: 2 })
      yield* engine.broadcast("room", "said", { n: 3, text: "zażółć" })
      assert.deepEqual(yield* next, { _tag: "Broadcast", message: { said: { n: 1, channel: "room" } } })
      assert.deepEqual(yield* next, { _tag: "Broadcast", message: { said: { n: 3, text: "zażółć", channel: "room" } } })
      assert.deepEqual([(yield* engine.describe("room")).subscribers, engine.counters.deliveries], [0, 0])
      yield* channels.close({ params })
      assert.deepEqual(yield* next, { _tag: "Ended", reason: "the channel was closed" })
      assert.strictEqual((yield* Effect.flip(channels.tail({ params })))._tag, "NotFoundError")
    }).pipe(Effect.scoped, broker))

  it.live("ends with its vhost, and with the broker", () =>
    Effect.gen(function*() {
      const { channels, vhosts } = yield* client
      yield* vhosts.add({ payload: { path: "/other", channels: ["room"] } })
      const next = yield* reading(yield* channels.tail({ params: { vhost: "/other", channel: "room" } }))
      const other = yield* reading(yield* channels.tail({ params: { vhost, channel: "room" } }))
      assert.deepEqual(yield* other, { _tag: "Alive" })
      assert.deepEqual(yield* next, { _tag: "Alive" })
      yield* vhosts.remove({ params: { vhost: "/other" } })
      assert.deepEqual(yield* next, { _tag: "Ended", reason: "the channel was closed" })
    }).pipe(Effect.scoped, broker))

  it.live("of refusals has what was refused in the last second", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const next = yield* reading(yield* (yield* client).broker.tailRefusals())
      assert.deepEqual(yield* next, { refusals: [] })
      yield* Effect.exit(RawWebSocket.connect(broker.websocketPort, "/none"))
      const { refusals } = yield* next
      assert.deepInclude(refusals, { metric: "kosmonaut_broker_refused_browsers_total", reason: "vhost", count: 1 })
    }).pipe(Effect.scoped, broker))
})
