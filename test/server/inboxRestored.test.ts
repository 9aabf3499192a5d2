/** What the next broker has of the inboxes of users, however the last one ended. */
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { Client } from "../../src/index.ts"
import type * as BrokerConfig from "../../src/server/BrokerConfig.ts"
import type * as Vhosts from "../../src/server/engine/Vhosts.ts"
import * as SqliteStore from "../../src/server/store/SqliteStore.ts"
import { enter } from "../harness/browserSession.ts"
import { hesitating } from "../harness/hesitating.ts"
import * as KillableStore from "../harness/killableStore.ts"
import { temporaryFolder } from "../harness/temporaryFolder.ts"

type Received = { readonly [name: string]: any }

const withHistory = (options: BrokerConfig.Options = {}): BrokerConfig.Options => ({
  channelRules: [{ pattern: ":user.*", openOnDemand: true, history: true }],
  ...options
})

/** Subscribes a new browser of a user to its inbox, and gives `:subscribed` and what it has missed. */
const join = Effect.fnUntraced(function*(vhost: Vhosts.Vhost, uid: string, payload: object = {}) {
  const { send, session } = enter({ vhost } as Parameters<typeof enter>[0], `of ${uid}`, 1)
  const token = yield* vhost.accessTokens.issue(uid, "none")
  yield* send("auth", { token: Redacted.value(token) })
  const [first, ...rest] = (yield* send("subscribe", { channel: ":user", ...payload })) as ReadonlyArray<Received>
  for (const message of rest) expect(message).toMatchObject({ ":user": expect.any(Number) })
  yield* session.end(false)
  return { ...first![":subscribed"], heard: rest.map(({ news }) => news.n) } as Received
})

const say = ({ browsers }: Vhosts.Vhost, uid: string, n: number) => browsers.sendToUser(uid, "news", { n })

const channels = ({ channels }: Vhosts.Vhost) => Effect.map(channels.list, (list) => list.map(({ name }) => name))

const stores = [
  { name: "layerMemory", make: KillableStore.make() },
  {
    name: "SqliteStore",
    make: Effect.flatMap(temporaryFolder, (directory) => KillableStore.make(SqliteStore.make({ directory })))
  }
]

describe.each(stores)("inboxes on $name", ({ make }) => {
  it.effect.each([{ kills: true }, { kills: false }])(
    "are there after a restart, and no channels, killed: $kills",
    ({ kills }) =>
      Effect.gen(function*() {
        const { kill, live } = yield* make
        const since = yield* live(withHistory(), (vhost) =>
          Effect.gen(function*() {
            const { epoch, position } = yield* join(vhost, "joe")
            yield* say(vhost, "old", 1)
            yield* TestClock.adjust("6 minutes")
            for (const n of [1, 2]) yield* Effect.all([say(vhost, "joe", n), say(vhost, ":user:é \"", n)])
            yield* vhost.channels.persisted
            if (kills) kill()
            return { epoch, position }
          }))
        yield* live(withHistory(), (vhost) =>
          Effect.gen(function*() {
            expect(yield* channels(vhost)).toEqual([])
            expect(yield* join(vhost, "joe", { since })).toMatchObject({ recovered: true, heard: [1, 2] })
            expect(yield* join(vhost, ":user:é \"", { since })).toMatchObject({ recovered: true, heard: [1, 2] })
            expect(yield* join(vhost, "silent", { since })).toMatchObject({ recovered: true, heard: [] })
            expect(yield* join(vhost, "old", { since })).toMatchObject({ recovered: false, reason: "dropped" })
            yield* say(vhost, "joe", 3)
            expect(yield* join(vhost, "joe", { since })).toMatchObject({ recovered: true, heard: [1, 2, 3] })
          }))
        yield* live({}, (vhost) => Effect.asVoid(join(vhost, "joe")))
        yield* live(withHistory(), (vhost) =>
          Effect.gen(function*() {
            expect(yield* join(vhost, "joe", { since })).toMatchObject({ recovered: false, reason: "dropped" })
            expect(yield* join(vhost, "joe", { rewind: 9 })).toMatchObject({ heard: [] })
          }))
      })
  )

  it.effect("know after a restart that something was dropped of users that are forgotten", () =>
    Effect.gen(function*() {
      const { kill, live } = yield* make
      const options = withHistory({ history: { maxUsers: 2 } })
      const since = yield* live(options, (vhost) =>
        Effect.gen(function*() {
          const { epoch, position } = yield* join(vhost, "a")
          for (const uid of ["a", "b", "c"]) yield* say(vhost, uid, 1)
          yield* vhost.channels.persisted
          kill()
          return { epoch, position }
        }))
      yield* live(options, (vhost) =>
        Effect.gen(function*() {
          expect(yield* join(vhost, "a", { since })).toMatchObject({ reason: "dropped" })
          expect(yield* join(vhost, "c", { since })).toMatchObject({ heard: [1] })
        }))
    }))
})

describe("what is sent to a user whose inbox has a history", () => {
  it.effect("is answered when it is stored", () =>
    Effect.gen(function*() {
      const { context, gate } = yield* hesitating(withHistory())
      yield* Effect.gen(function*() {
        const client = yield* Client.Client
        const waiting = yield* Effect.forkScoped(client.sendToUser("joe", "news"), { startImmediately: true })
        yield* client.sendTo("nobody", "news").pipe(Effect.ignore)
        expect(waiting.pollUnsafe()).toBe(undefined)
        yield* Deferred.done(gate, yield* Effect.exit(Effect.void))
        expect(yield* Fiber.join(waiting)).toBe(0)
      }).pipe(Effect.provide(context))
    }))
})
