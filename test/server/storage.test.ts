/** What the next broker finds of what the last one had, and who waits until it is kept. */
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Redacted, Result } from "effect"
import { TestClock } from "effect/testing"
import { Client } from "../../src/index.ts"
import * as JsonText from "../../src/protocol/JsonText.ts"
import * as Broker from "../../src/server/Broker.ts"
import * as BrowserSession from "../../src/server/endpoint/BrowserSession.ts"
import * as Vhosts from "../../src/server/engine/Vhosts.ts"
import { layerMemory } from "../../src/server/store/Store.ts"
import * as Admin from "../../src/server/Vhosts.ts"
import { testBroker } from "../harness/engine.ts"
import * as FakeBrowser from "../harness/FakeBrowser.ts"
import { diskFull, hesitating } from "../harness/hesitating.ts"
import { inTest, issue, stores, trigger } from "../harness/lives.ts"
import { temporaryFolder } from "../harness/temporaryFolder.ts"

const token = "0123456789abcdef0123456789abcdef01234567"
const otherToken = "76543210fedcba9876543210fedcba9876543210"

describe.each(stores)("a vhost on $name", ({ make }) => {
  it.effect("the rules of its channels, unless the options have others", () =>
    Effect.gen(function*() {
      const live = yield* make
      const names = (vhosts: Vhosts.Vhosts["Service"]) =>
        Effect.map(vhosts.get("/test"), (vhost) => ({
          own: vhost.channelRules().map(({ pattern }) => pattern),
          opens: ["a", "b", "c"].filter((name) => vhost.channels.ruleOf(name).openOnDemand)
        }))
      const channelRules = [{ pattern: "c", openOnDemand: true }]
      yield* live((vhosts) =>
        Effect.gen(function*() {
          const vhost = yield* vhosts.get("/test")
          yield* vhost.setChannelRules([
            { pattern: "a", openOnDemand: true, history: { count: Infinity, age: "2 minutes" } },
            { pattern: "b|c" }
          ])
          yield* vhost.journal.persisted
        }), { channelRules })
      yield* live((vhosts) =>
        Effect.gen(function*() {
          expect(yield* names(vhosts)).toEqual({ own: ["a", "b|c"], opens: ["a"] })
          const { channels } = yield* vhosts.get("/test")
          expect(channels.ruleOf("a").history).toEqual({ count: Infinity, age: 120_000, size: 1_048_576 })
        }), { channelRules })
      yield* live(
        (vhosts) => Effect.map(names(vhosts), (found) => expect(found).toEqual({ own: ["b"], opens: ["b"] })),
        {
          vhosts: [{ path: "/test", channelRules: [{ pattern: "b", openOnDemand: true }] }]
        }
      )
      yield* live((vhosts) =>
        Effect.gen(function*() {
          expect(yield* names(vhosts)).toEqual({ own: ["b"], opens: ["b"] })
          const vhost = yield* vhosts.get("/test")
          yield* vhost.setChannelRules([])
          yield* vhost.journal.persisted
        })
      )
      yield* live((vhosts) => Effect.map(names(vhosts), (found) => expect(found).toEqual({ own: [], opens: [] })))
    }))

  it.effect("restores its token, and its channels in the order of their opening", () =>
    Effect.gen(function*() {
      const live = yield* make
      const before = yield* live((vhosts) =>
        Effect.gen(function*() {
          const vhost = yield* vhosts.get("/test")
          for (const name of ["room", "presence-room", "closed", "private-room"]) yield* vhost.channels.open(name)
          yield* vhost.channels.close("closed")
          return Redacted.value(vhost.token)
        })
      )
      yield* inTest((vhost) =>
        Effect.gen(function*() {
          expect(Redacted.value(vhost.token)).toBe(before)
          const channels = yield* vhost.channels.list
          expect(channels.map(({ name }) => name)).toEqual(["room", "presence-room", "private-room"])
          expect(vhost.channels.counters.channels).toBe(3)
        })
      )(live)
    }))

  it.effect("restores single access tokens until they are used or expire", () =>
    Effect.gen(function*() {
      const live = yield* make
      const [used, unused, late] = yield* inTest(({ accessTokens }) =>
        Effect.gen(function*() {
          const [used, unused] = [
            yield* accessTokens.issue("ann", ".*"),
            yield* accessTokens.issue("joe", "private-.*")
          ]
          yield* accessTokens.redeem(Redacted.value(used))
          yield* TestClock.adjust("10 minutes")
          return [used, unused, yield* accessTokens.issue("eve", ".*")].map(Redacted.value)
        })
      )(live)
      yield* inTest(({ accessTokens }) =>
        Effect.gen(function*() {
          yield* TestClock.adjust("49 minutes")
          expect((yield* Effect.flip(accessTokens.redeem(used!)))._tag).toBe("UnauthorizedError")
          const joe = yield* accessTokens.redeem(unused!)
          expect([joe.uid, joe.allows("private-a"), joe.allows("room")]).toEqual(["joe", true, false])
        })
      )(live)
      yield* inTest(({ accessTokens }) =>
        Effect.gen(function*() {
          expect((yield* Effect.flip(accessTokens.redeem(unused!)))._tag).toBe("UnauthorizedError")
          yield* TestClock.adjust("11 minutes")
          expect((yield* Effect.flip(accessTokens.redeem(late!)))._tag).toBe("UnauthorizedError")
        })
      )(live)
    }))

  it.effect("restores the token that was regenerated, and no other one", () =>
    Effect.gen(function*() {
      const live = yield* make
      const made = yield* live((vhosts) =>
        Effect.andThen(vhosts.addToken("/test"), Effect.map(vhosts.regenerateToken("/test"), Redacted.value))
      )
      yield* inTest((vhost) => Effect.sync(() => expect(vhost.tokens.list().map(Redacted.value)).toEqual([made])))(live)
    }))

  it.effect("restores its access tokens in their order, without those that were removed", () =>
    Effect.gen(function*() {
      const live = yield* make
      const added = yield* live((vhosts) =>
        Effect.gen(function*() {
          const [one, two] = [yield* vhosts.addToken("/test"), yield* vhosts.addToken("/test", otherToken)]
          const { token } = yield* vhosts.get("/test")
          expect(yield* vhosts.removeToken("/test", token)).toBe(true)
          return [one, two].map(Redacted.value)
        })
      )
      yield* inTest((vhost) =>
        Effect.sync(() => {
          expect(vhost.tokens.list().map(Redacted.value)).toEqual(added)
          expect(Redacted.value(vhost.token)).toBe(added[0])
        })
      )(live)
      yield* live((vhosts) =>
        Effect.gen(function*() {
          // What is configured counts.
          const { tokens } = yield* vhosts.get("/test")
          expect(tokens.list().map(Redacted.value)).toEqual([token, otherToken])
        }), { vhosts: [{ path: "/test", token, otherTokens: [otherToken] }] })
    }))

  it.effect("does not restore tokens that were revoked", () =>
    Effect.gen(function*() {
      const live = yield* make
      const tokens = yield* inTest(({ accessTokens, journal }) =>
        Effect.gen(function*() {
          const tokens = [yield* accessTokens.issue("joe", ".*"), yield* accessTokens.issue("ann", ".*")].map(
            Redacted.value
          )
          yield* journal.persisted
          expect(yield* accessTokens.revoke("joe")).toBe(1)
          return tokens
        })
      )(live)
      yield* inTest(({ accessTokens }) =>
        Effect.gen(function*() {
          expect((yield* Effect.flip(accessTokens.redeem(tokens[0]!)))._tag).toBe("UnauthorizedError")
          yield* accessTokens.redeem(tokens[1]!)
        })
      )(live)
    }))

  it.effect("restores what a single access token grants, and when that ends", () =>
    Effect.gen(function*() {
      const live = yield* make
      const info = JsonText.fromObject({ name: "Joe" })
      const [short, long] = yield* inTest(({ accessTokens }) =>
        Effect.gen(function*() {
          const options = { channels: ["private-a", "b"], info }
          return [
            yield* accessTokens.issue("joe", ".*", { ...options, expiresIn: 600_000 }),
            yield* accessTokens.issue("joe", ".*", { ...options, expiresIn: 7_200_000 })
          ].map(Redacted.value)
        })
      )(live)
      yield* TestClock.adjust("10 minutes")
      yield* inTest(({ accessTokens }) =>
        Effect.gen(function*() {
          expect((yield* Effect.flip(accessTokens.redeem(short!)))._tag).toBe("UnauthorizedError")
          const granted = yield* accessTokens.redeem(long!)
          expect(granted).toMatchObject({ uid: "joe", channels: ["private-a", "b"], info, expiresAt: 7_200_000 })
        })
      )(live)
    }))

  it.effect("is not restored once it is removed, and starts empty if it is added again", () =>
    Effect.gen(function*() {
      const live = yield* make
      yield* live((vhosts) =>
        Effect.gen(function*() {
          const vhost = yield* vhosts.add({ path: "/gone", channels: ["room"] })
          yield* trigger(vhost, "a")
          yield* vhosts.remove("/gone")
          // Somebody who is still on the way out.
          yield* trigger(vhost, "b")
        })
      )
      yield* live((vhosts) =>
        Effect.gen(function*() {
          expect((yield* vhosts.list).map(({ path }) => path)).toEqual(["/test"])
          yield* vhosts.add({ path: "/gone" })
        })
      )
      yield* live((vhosts) =>
        Effect.gen(function*() {
          const vhost = yield* vhosts.get("/gone")
          expect([yield* vhost.channels.list, (yield* vhost.lobby.info).queued]).toEqual([[], 0])
        })
      )
    }))

  it.effect("is restored beside the configured vhosts", () =>
    Effect.gen(function*() {
      const live = yield* make
      yield* live((vhosts) =>
        Effect.gen(function*() {
          yield* vhosts.add({ path: "/more", token, channels: ["added"] })
          const test = yield* vhosts.get("/test")
          yield* test.channels.open("room")
        })
      )
      const vhosts = [{ path: "/new", token }, { path: "/test", token: otherToken, channels: ["hall", "room"] }]
      for (const options of [{ vhosts }, { vhosts: [{ path: "/new" }, { path: "/test" }] }]) {
        yield* live((vhosts) =>
          Effect.gen(function*() {
            const list = yield* vhosts.list
            expect(list.map(({ path, token }) => [path, Redacted.value(token)])).toEqual([
              ["/new", token],
              ["/test", otherToken],
              ["/more", token]
            ])
            const channels = yield* Effect.forEach(list, ({ channels }) => channels.list)
            expect(channels.map((open) => open.map(({ name }) => name))).toEqual([[], ["room", "hall"], ["added"]])
          }), options)
      }
    }))

  it.effect("is not changed by an attempt to add it again", () =>
    Effect.gen(function*() {
      const live = yield* make
      const [first, second] = yield* live((vhosts) =>
        Effect.gen(function*() {
          const again = yield* Effect.result(vhosts.add({ path: "/test", channels: ["room"] }))
          const wrong = yield* Effect.result(vhosts.add({ path: "/other", channels: ["room", "a b"] }))
          return [again, wrong]
        })
      )
      expect([first, second].map((result) => Result.isFailure(result!) && result.failure._tag)).toEqual([
        "VhostExistsError",
        "InvalidChannelNameError"
      ])
      yield* live((vhosts) =>
        Effect.gen(function*() {
          const list = yield* vhosts.list
          expect(list.map(({ path }) => path)).toEqual(["/test"])
          expect(yield* list[0]!.channels.list).toEqual([])
        })
      )
    }))
})

describe("a whole broker", () => {
  const options = { websocketPort: 0, backendPort: 0, tcpPort: 0, vhosts: [{ path: "/test" }] }
  const tokenIn = Effect.gen(function*() {
    const vhosts = yield* Admin.Vhosts
    const vhost = yield* vhosts.get("/test")
    return Redacted.value(vhost.token)
  })

  it.live("requires a store, if it is not to choose one itself", () =>
    Effect.gen(function*() {
      const store = yield* Layer.build(layerMemory)
      const run = Effect.provide(tokenIn, Layer.provide(Broker.layerNoStore(options), Layer.succeedContext(store)))
      expect(yield* run).toBe(yield* run)
    }).pipe(Effect.scoped))

  it.live("is in memory alone without a folder", () =>
    Effect.gen(function*() {
      const run = Effect.provide(tokenIn, Broker.layer(options))
      expect(yield* run).not.toBe(yield* run)
    }))

  it.live("is persisted in the folder that it is given", () =>
    Effect.gen(function*() {
      const storageDir = yield* temporaryFolder
      const run = Effect.provide(tokenIn, Broker.layer({ ...options, storageDir }))
      expect(yield* run).toBe(yield* run)
    }).pipe(Effect.scoped))
})

describe("responses that depend on storage", () => {
  const outcomes = [
    {
      name: "is answered once it is",
      exit: Effect.void,
      opened: true,
      answer: { ":triggered": { id: 7 } }
    },
    {
      name: "is told where it is not",
      exit: Effect.fail(diskFull),
      opened: "InternalError",
      answer: {
        ":error": {
          code: 597,
          status: "Internal error",
          id: 7,
          event: "trigger",
          reason: "the broker cannot write to its storage"
        }
      }
    }
  ]

  it.effect.each(outcomes)(
    "a browser that wants its trigger confirmed $name",
    ({ answer, exit }) =>
      Effect.gen(function*() {
        const { context, gate } = yield* hesitating()
        yield* Effect.gen(function*() {
          const { vhost } = yield* testBroker
          const answered = yield* Deferred.make<unknown>()
          const browser = FakeBrowser.make("joe", (message) => {
            if (message.includes(Object.keys(answer)[0]!)) {
              Deferred.doneUnsafe(answered, Effect.succeed(JSON.parse(message)))
            }
          })
          const session = BrowserSession.make(vhost, browser)
          yield* session.handle(JSON.stringify({ auth: { token: Redacted.value(yield* issue(vhost)) } }))
          browser.received()
          yield* session.handle(JSON.stringify({ trigger: { event: "say", data: {}, id: 7 } }))
          // It goes on in the meantime.
          yield* session.handle(JSON.stringify({ subscribe: { channel: "room" } }))
          expect(browser.received()).toEqual([{ ":subscribed": { channel: "room" } }])
          yield* Deferred.done(gate, yield* Effect.exit(exit))
          expect(yield* Deferred.await(answered)).toEqual(answer)
        }).pipe(Effect.provide(context))
      })
  )

  it.effect("a browser is authenticated when the use of its token is persisted", () =>
    Effect.gen(function*() {
      const { context, gate, token } = yield* hesitating()
      yield* Effect.gen(function*() {
        const { vhost } = yield* testBroker
        const browser = FakeBrowser.make("joe")
        const session = BrowserSession.make(vhost, browser)
        browser.received()
        const showing = yield* Effect.forkScoped(
          session.handle(JSON.stringify({ auth: { token: Redacted.value(token) } })),
          { startImmediately: true }
        )
        yield* Effect.yieldNow
        expect(browser.received()).toEqual([])
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(showing)
        expect(browser.received()).toEqual([{ ":authenticated": {} }])
      }).pipe(Effect.provide(context))
    }))

  it.effect.each(outcomes)("a Client that opens a channel $name", ({ exit, opened }) =>
    Effect.gen(function*() {
      const { context, gate } = yield* hesitating()
      yield* Effect.gen(function*() {
        const client = yield* Client.Client
        const opening = yield* Effect.forkScoped(
          Effect.match(client.openChannel("hall"), {
            onFailure: (error) => error._tag === "ProtocolError" ? error.reason._tag : error._tag,
            onSuccess: () => true
          })
        )
        // Others are not kept waiting.
        yield* client.broadcast("room", "hello", {})
        expect(opening.pollUnsafe()).toBe(undefined)
        yield* Deferred.done(gate, yield* Effect.exit(exit))
        expect(yield* Fiber.join(opening)).toBe(opened)
      }).pipe(Effect.provide(context))
    }))
})
