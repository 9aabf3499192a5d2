/** Vhosts are added, removed and authorized, and share nothing. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Logger, Redacted, Result } from "effect"
import { TestClock } from "effect/testing"
import { inspect } from "node:util"
import type { Identity } from "../../../src/protocol/Identity.ts"
import { InternalError, InvalidChannelNameError, UnauthorizedError } from "../../../src/protocol/KosmonautError.ts"
import * as BrokerConfig from "../../../src/server/BrokerConfig.ts"
import { InvalidVhostError, VhostExistsError, VhostNotFoundError } from "../../../src/server/BrokerError.ts"
import * as Vhosts from "../../../src/server/engine/Vhosts.ts"
import { layerMemory, layerNoop } from "../../../src/server/store/Store.ts"
import { settings } from "../../harness/engine.ts"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"
import { loggingWorker } from "../../harness/loggingWorker.ts"

const token = "0123456789abcdef0123456789abcdef01234567"
const otherToken = "76543210fedcba9876543210fedcba9876543210"

const make = (options?: BrokerConfig.Options) => Effect.provide(Vhosts.make, settings(options))

const identity = (vhost: string, text: string, kind: Identity["kind"] = "req"): Identity => ({
  kind,
  vhost,
  token: Redacted.make(text),
  id: "7b5d2a5e-0000-4000-8000-000000000000"
})

describe("Vhosts", () => {
  it.effect("starts with those of the configuration, in their order, with their channels", () =>
    Effect.gen(function*() {
      const vhosts = yield* make({
        vhosts: [
          { path: "/test", token, channels: ["room", "presence-room"] },
          { path: "/eu/chat", token: Redacted.make(otherToken) },
          { path: "/a" }
        ]
      })
      const list = yield* vhosts.list
      expect(list.map(({ path }) => path)).toEqual(["/test", "/eu/chat", "/a"])
      expect(list.slice(0, 2).map(({ token }) => Redacted.value(token))).toEqual([token, otherToken])
      const channels = yield* Effect.forEach(list, (vhost) => vhost.channels.list)
      expect(channels.map((list) => list.map(({ name }) => name))).toEqual([["room", "presence-room"], [], []])
    }))

  it.effect("does not start with a pattern of channels that does not compile", () =>
    Effect.gen(function*() {
      expect(yield* Effect.flip(make({ channelRules: [{ pattern: "room" }, { pattern: "a(" }] }))).toMatchObject({
        _tag: "InvalidOptionError",
        option: "channelRules.1.pattern",
        value: "\"a(\"",
        allowed: "a pattern in RE2 syntax; the pattern does not compile: error parsing regexp: missing closing ): `a(`"
      })
    }))

  it.effect("frees the history of a vhost that is removed", () =>
    Effect.gen(function*() {
      const one = { path: "/one", channels: ["room"] }
      // The second broadcast of the broker has no room beside one that is still retained.
      const vhosts = yield* make({
        vhosts: [one],
        channelRules: [{ pattern: ".*", history: true }],
        history: { totalSize: 500 }
      })
      const broadcast = Effect.gen(function*() {
        const { channels } = yield* vhosts.get("/one")
        yield* channels.broadcast("room", "e", {})
        return (yield* channels.history("room", { after: 0, limit: 10, maxSize: 1000 })).entries.length
      })
      expect(yield* broadcast).toBe(1)
      yield* vhosts.remove("/one")
      yield* vhosts.add(one)
      expect(yield* broadcast).toBe(1)
    }))

  it.effect("starts with none if none is configured", () =>
    Effect.gen(function*() {
      const vhosts = yield* make()
      expect(yield* vhosts.list).toEqual([])
    }))

  it.effect.each<[string, BrokerConfig.Options["vhosts"], unknown]>([
    ["a bad path", [{ path: "chat" }], InvalidVhostError],
    ["a bad token", [{ path: "/chat", token: "short" }], InvalidVhostError],
    ["a bad channel", [{ path: "/chat", channels: ["%%%"] }], InvalidChannelNameError],
    ["one path twice", [{ path: "/chat" }, { path: "/chat" }], VhostExistsError]
  ])("fails to begin with %s", ([_, vhosts, expected]) =>
    Effect.gen(function*() {
      const failure = yield* Effect.flip(Layer.build(Layer.provide(Vhosts.layer, settings({ vhosts }))))
      expect(failure).toBeInstanceOf(expected)
    }))

  describe("adding", () => {
    it.effect("creates a random token of 40 hexadecimal digits", () =>
      Effect.gen(function*() {
        const vhosts = yield* make()
        const tokens = yield* Effect.forEach(
          ["/a", "/b", "/c"],
          (path) => Effect.map(vhosts.add({ path }), ({ token }) => Redacted.value(token))
        )
        for (const token of tokens) expect(token).toMatch(/^[0-9a-f]{40}$/)
        expect(new Set(tokens).size).toBe(3)
      }))

    it.effect("returns the same vhost as `get` and `list`", () =>
      Effect.gen(function*() {
        const vhosts = yield* make()
        const vhost = yield* vhosts.add({ path: "/a" })
        expect(yield* vhosts.get("/a")).toBe(vhost)
        expect(yield* vhosts.list).toEqual([vhost])
      }))

    it.effect("never shows a token", () =>
      Effect.gen(function*() {
        const vhosts = yield* make()
        const vhost = yield* vhosts.add({ path: "/a", token })
        expect(`${JSON.stringify(vhost)} ${inspect(vhost)}`).not.toContain(token)
        const failure = yield* Effect.flip(vhosts.add({ path: "/b", token: `${token}!` }))
        expect(JSON.stringify(failure) + failure.message).not.toContain(token)
      }))

    it.effect.each([
      "",
      "/",
      "chat",
      "/chat/",
      "//chat",
      "/a b",
      "/a.b",
      "/ż",
      "/chat\n",
      "/a:b",
      "/chat?x=1",
      `/${"a".repeat(128)}`
    ])("refuses the path %j", (path) =>
      Effect.gen(function*() {
        const vhosts = yield* make()
        const failure = yield* Effect.flip(vhosts.add({ path }))
        expect(failure).toBeInstanceOf(InvalidVhostError)
        expect(yield* vhosts.list).toEqual([])
      }))

    it.effect.each(["", "short", token.slice(1), `${token}0`, token.replace("0", "!"), `${token}\n`])(
      "rejects the token %j",
      (token) =>
        Effect.gen(function*() {
          const vhosts = yield* make()
          const failure = yield* Effect.flip(vhosts.add({ path: "/a", token }))
          expect(failure).toBeInstanceOf(InvalidVhostError)
          expect(yield* vhosts.list).toEqual([])
        })
    )

    it.effect("rejects a path that exists, and does not change that vhost", () =>
      Effect.gen(function*() {
        const vhosts = yield* make({ vhosts: [{ path: "/test", token, channels: ["room"] }] })
        const failure = yield* Effect.flip(vhosts.add({ path: "/test", token: otherToken }))
        expect(failure).toBeInstanceOf(VhostExistsError)
        expect(failure).toMatchObject({ path: "/test" })
        const vhost = yield* vhosts.authorize(identity("/test", token))
        expect(yield* vhost.channels.list).toMatchObject([{ name: "room" }])
      }))

    it.effect("adds no vhost if one of its channels cannot be opened", () =>
      Effect.gen(function*() {
        const vhosts = yield* make({ maxChannels: 2 })
        const badName = yield* Effect.flip(vhosts.add({ path: "/a", channels: ["room", "%%%"] }))
        expect(badName).toBeInstanceOf(InvalidChannelNameError)
        const tooMany = yield* Effect.flip(vhosts.add({ path: "/a", channels: ["a", "b", "c"] }))
        expect(tooMany).toBeInstanceOf(InternalError)
        expect(yield* vhosts.list).toEqual([])
        // A channel named twice is open all the same.
        yield* vhosts.add({ path: "/a", channels: ["a", "a", "b"] })
      }))

    it.effect("adds one of two vhosts with the same path at the same time", () =>
      Effect.gen(function*() {
        const vhosts = yield* make()
        const channels = Array.from({ length: 5000 }, (_, index) => `c${index}`)
        const results = yield* Effect.all(
          [Effect.result(vhosts.add({ path: "/a", channels })), Effect.result(vhosts.add({ path: "/a", channels }))],
          { concurrency: 2 }
        )
        const [failure, ...more] = results.flatMap((result) => Result.isFailure(result) ? [result.failure] : [])
        expect(failure).toBeInstanceOf(VhostExistsError)
        expect(more).toEqual([])
        const added = results.flatMap((result) => Result.isSuccess(result) ? [result.success] : [])
        expect(yield* vhosts.list).toEqual(added)
      }))
  })

  describe("removing", () => {
    it.effect("dismisses its workers and disconnects its browsers, and no others", () =>
      Effect.gen(function*() {
        const vhosts = yield* make()
        const log: Array<string> = []
        const [one, other] = [yield* vhosts.add({ path: "/a" }), yield* vhosts.add({ path: "/b" })]
        yield* one.lobby.register(loggingWorker("one", log))
        yield* other.lobby.register(loggingWorker("other", log))
        const removed = yield* Effect.forkChild(one.removed, { startImmediately: true })
        const otherRemoved = yield* Effect.forkChild(other.removed, { startImmediately: true })
        expect(removed.pollUnsafe()).toBe(undefined)
        yield* vhosts.remove("/a")
        yield* Fiber.join(removed)
        expect(log).toEqual(["dismissed one"])
        expect(otherRemoved.pollUnsafe()).toBe(undefined)
        expect((yield* vhosts.list).map(({ path }) => path)).toEqual(["/b"])
        expect((yield* other.lobby.info).workers).toEqual(["other"])
      }))

    it.effect("authorizes no backend any more", () =>
      Effect.gen(function*() {
        const vhosts = yield* make({ vhosts: [{ path: "/test", token }] })
        yield* vhosts.remove("/test")
        expect(yield* Effect.flip(vhosts.get("/test"))).toBeInstanceOf(VhostNotFoundError)
        expect(yield* Effect.flip(vhosts.remove("/test"))).toBeInstanceOf(VhostNotFoundError)
        expect(yield* Effect.flip(vhosts.authorize(identity("/test", token)))).toBeInstanceOf(UnauthorizedError)
      }))

    it.effect("leaves nothing to the next vhost with that path", () =>
      Effect.gen(function*() {
        const vhosts = yield* make()
        const old = yield* vhosts.add({ path: "/a", token, channels: ["room"] })
        const single = yield* old.accessTokens.issue("joe", ".*")
        yield* old.lobby.enqueue("{}")
        yield* vhosts.remove("/a")
        const fresh = yield* vhosts.add({ path: "/a" })
        expect(yield* fresh.channels.list).toEqual([])
        expect(yield* fresh.lobby.info).toEqual({ queued: 0, workers: [] })
        yield* Effect.flip(fresh.accessTokens.redeem(Redacted.value(single)))
        yield* Effect.flip(vhosts.authorize(identity("/a", token)))
        const removed = yield* Effect.forkChild(fresh.removed, { startImmediately: true })
        expect(removed.pollUnsafe()).toBe(undefined)
      }))

    it.effect.each(["/nope", "", "__proto__", "/test/"])(
      "fails for %j, which does not exist",
      (path) =>
        Effect.gen(function*() {
          const vhosts = yield* make({ vhosts: [{ path: "/test" }] })
          const failure = yield* Effect.flip(vhosts.remove(path))
          expect(failure).toBeInstanceOf(VhostNotFoundError)
          expect(yield* Effect.flip(vhosts.get(path))).toMatchObject({ path })
        })
    )

    it.effect("ends at once for whoever waits for it afterwards", () =>
      Effect.gen(function*() {
        const vhosts = yield* make()
        const vhost = yield* vhosts.add({ path: "/a" })
        yield* vhosts.remove("/a")
        yield* vhost.removed
        yield* vhost.removed
      }))
  })

  describe("authorizing", () => {
    it.effect("returns the vhost of a valid token, for Clients and Workers", () =>
      Effect.gen(function*() {
        const vhosts = yield* make({
          vhosts: [{ path: "/a", token }, { path: "/b", token: otherToken }, { path: "/a/b", token }]
        })
        for (const kind of ["req", "dlr"] as const) {
          expect((yield* vhosts.authorize(identity("/a", token, kind))).path).toBe("/a")
          expect((yield* vhosts.authorize(identity("/b", otherToken, kind))).path).toBe("/b")
          expect((yield* vhosts.authorize(identity("/a/b", token, kind))).path).toBe("/a/b")
        }
      }))

    it.effect("fails alike for an unknown vhost, a wrong token and another vhost's token", () =>
      Effect.gen(function*() {
        const vhosts = yield* make({ vhosts: [{ path: "/a", token }, { path: "/b", token: otherToken }] })
        const failures = yield* Effect.forEach([
          identity("/nope", token),
          identity("/a", otherToken),
          identity("/a", `${token.slice(0, -1)}8`),
          identity("/a", `1${token.slice(1)}`),
          identity("/a", token.toUpperCase()),
          identity("/a", ""),
          identity("/a", `${token}0`),
          identity("", token)
        ], (identity) => Effect.flip(vhosts.authorize(identity)))
        for (const failure of failures) {
          expect(failure).toBeInstanceOf(UnauthorizedError)
          expect(failure.message).toBe(failures[0]!.message)
          expect(JSON.stringify(failure)).not.toContain(token)
        }
      }))
  })

  it.effect.each(["removed", "regenerated"] as const)(
    "tells all listeners of a token that is %s, whether one is slow or whoever does it is interrupted",
    (how) =>
      Effect.gen(function*() {
        const vhosts = yield* make({ vhosts: [{ path: "/test", token, otherTokens: [otherToken] }] })
        const told = new Set<string>()
        yield* vhosts.onTokenRemoved(() => Effect.andThen(Effect.sync(() => told.add("first")), Effect.never))
        yield* vhosts.onTokenRemoved(() => Effect.andThen(Effect.yieldNow, Effect.sync(() => told.add("second"))))
        const ending = how === "removed" ? vhosts.removeToken("/test", token) : vhosts.regenerateToken("/test")
        const removing = yield* Effect.forkChild(ending, { startImmediately: true })
        const interrupting = yield* Effect.forkChild(Fiber.interrupt(removing), { startImmediately: true })
        yield* TestClock.adjust("1 minute")
        yield* Fiber.join(interrupting)
        expect([...told]).toEqual(["first", "second"])
      })
  )

  it.effect("isolates channels, single access tokens and events of vhosts", () =>
    Effect.gen(function*() {
      const vhosts = yield* make({ tokens: { capacity: 1 }, maxChannels: 1, queue: { capacity: 1 } })
      const [a, b] = [yield* vhosts.add({ path: "/a", token }), yield* vhosts.add({ path: "/b", token })]
      yield* a.channels.open("room")
      expect(yield* b.channels.list).toEqual([])
      const single = yield* a.accessTokens.issue("joe", ".*")
      yield* Effect.flip(b.accessTokens.redeem(Redacted.value(single)))
      yield* a.lobby.enqueue("{}")
      // Nor are the bounds shared, or other than the configuration's.
      yield* b.channels.open("room")
      yield* b.accessTokens.issue("joe", ".*")
      yield* b.lobby.enqueue("{}")
      yield* Effect.flip(b.channels.open("another"))
      yield* Effect.flip(b.accessTokens.issue("joe", ".*"))
      yield* Effect.flip(b.lobby.enqueue("{}"))
      const browser = FakeBrowser.make("browser")
      yield* a.channels.subscribe("room", browser, { permission: undefined, hidden: false, data: {} })
      browser.received()
      yield* b.channels.broadcast("room", "hello", {})
      expect(browser.received()).toEqual([])
    }))

  it.effect("replays a dead letter, and leaves it if the queue is full", () =>
    Effect.gen(function*() {
      const vhosts = yield* make({ queue: { capacity: 1 } })
      const vhost = yield* vhosts.add({ path: "/a", token })
      const letter = { json: `{"save":{}}`, origin: undefined, attempts: 1, reason: "no" }
      yield* vhost.deadLetters.add({ ...letter, id: "a" })
      yield* vhost.deadLetters.add({ ...letter, id: "b" })
      expect(yield* vhost.replay("nobody")).toBe(false)
      expect(yield* vhost.replay("a")).toBe(true)
      expect((yield* vhost.deadLetters.list).map(({ id }) => id)).toEqual(["b"])
      expect(yield* Effect.flip(vhost.replay("b"))).toBeInstanceOf(InternalError)
      expect((yield* vhost.deadLetters.list).map(({ id }) => id)).toEqual(["b"])
      const log: Array<string> = []
      yield* vhost.lobby.register(loggingWorker("worker", log))
      yield* vhost.lobby.heartbeat("worker")
      expect(yield* vhost.replay("b")).toBe(true)
      expect(log).toEqual([letter.json, letter.json])
      expect(yield* vhost.deadLetters.list).toEqual([])
    }))

  it.effect("has a vhost by default only if there is none", () =>
    Effect.gen(function*() {
      const defaultVhost = { path: "/app", token, channels: ["room"] }
      const pathsWith = (options: BrokerConfig.Options) =>
        Effect.scoped(Effect.gen(function*() {
          const vhosts = yield* Effect.provide(Vhosts.make, BrokerConfig.layer(options))
          return (yield* vhosts.list).map(({ path }) => path)
        }))
      const withoutStore = (options: BrokerConfig.Options) => Effect.provide(pathsWith(options), layerNoop)
      expect(yield* withoutStore({ defaultVhost })).toEqual(["/app"])
      expect(yield* withoutStore({ defaultVhost, vhosts: [{ path: "/a" }] })).toEqual(["/a"])
      yield* Effect.gen(function*() {
        expect(yield* pathsWith({ vhosts: [{ path: "/b" }] })).toEqual(["/b"])
        expect(yield* pathsWith({ defaultVhost })).toEqual(["/b"])
      }).pipe(Effect.provide([layerMemory, Logger.layer([])]))
    }))
})
