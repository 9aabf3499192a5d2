/** What the next broker has of the history of channels, however the last one ended. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import type * as BrokerConfig from "../../src/server/BrokerConfig.ts"
import type * as Vhosts from "../../src/server/engine/Vhosts.ts"
import * as SqliteStore from "../../src/server/store/SqliteStore.ts"
import * as KillableStore from "../harness/killableStore.ts"
import { join, numbers, type Received, say } from "../harness/roomHistory.ts"
import { temporaryFolder } from "../harness/temporaryFolder.ts"

const options: BrokerConfig.Options = { channelRules: [{ pattern: "room|hall", history: true }] }

const every = [{ pattern: ".*", history: true }]

const opened = (vhost: Vhosts.Vhost) => vhost.channels.open("room")

const stores = [
  { name: "layerMemory", make: KillableStore.make() },
  {
    name: "SqliteStore",
    make: Effect.flatMap(temporaryFolder, (directory) => KillableStore.make(SqliteStore.make({ directory })))
  }
]

describe.each(stores)("history on $name", ({ make }) => {
  it.effect.each([{ kills: true }, { kills: false }])(
    "is there for channels that are opened on demand, as long as their rules are the same, killed: $kills",
    ({ kills }) =>
      Effect.gen(function*() {
        const { kill, live } = yield* make
        const onDemand = {
          channelRules: [{ pattern: ".*", openOnDemand: true, history: { age: "1 minute" } }]
        } as const
        const names = ({ channels }: Vhosts.Vhost) => Effect.map(channels.list, (list) => list.map(({ name }) => name))
        const before = yield* live(onDemand, (vhost) =>
          Effect.gen(function*() {
            const since: Record<string, object> = {}
            for (const channel of ["said", "silent", "gone", "kept"]) {
              const { browser, subscribed: { epoch, position } } = yield* join(vhost, {}, channel)
              since[channel] = { epoch, position }
              if (channel === "gone") yield* say(vhost, 1, channel)
              yield* vhost.channels.leave(browser)
            }
            yield* vhost.channels.open("kept")
            yield* TestClock.adjust("61 seconds")
            yield* say(vhost, 2, "said")
            expect(yield* names(vhost)).toEqual(["kept", "said"])
            const { subscribed: { epoch, position } } = yield* join(vhost, {}, "late")
            since["late"] = { epoch, position }
            yield* vhost.channels.persisted
            if (kills) kill()
            return since
          }))
        const recovered = (vhost: Vhosts.Vhost, channel: string) =>
          Effect.map(
            join(vhost, { since: before[channel] }, channel),
            ({ rest, subscribed: { reason, recovered } }) => [recovered ? numbers(rest) : reason]
          )
        yield* live(onDemand, (vhost) =>
          Effect.gen(function*() {
            expect(yield* names(vhost)).toEqual(["kept", "said"])
            expect(yield* recovered(vhost, "said")).toEqual([[2]])
            expect(yield* recovered(vhost, "late")).toEqual([[]])
            expect(yield* recovered(vhost, "gone")).toEqual(["dropped"])
            // A channel that nobody knows any more shares the gap of another one.
            expect(yield* recovered(vhost, "silent")).toEqual(["dropped"])
            expect(yield* recovered(vhost, "kept")).toEqual([[]])
          }))
        yield* live({}, (vhost) =>
          Effect.gen(function*() {
            expect(yield* names(vhost)).toEqual(["kept"])
          }))
        yield* live(onDemand, (vhost) =>
          Effect.gen(function*() {
            for (const channel of ["said", "late", "gone"]) {
              expect(yield* recovered(vhost, channel)).toEqual(["dropped"])
            }
          }))
      })
  )

  it.effect.each([{ restarts: true }, { restarts: false }])(
    "leaves nothing of a channel that was opened on demand if it has none any more, after a restart: $restarts",
    ({ restarts }) =>
      Effect.gen(function*() {
        const { live, stored } = yield* make
        const withHistory = { channelRules: [{ pattern: ".*", openOnDemand: true, history: true }] } as const
        const without = { channelRules: [{ pattern: ".*", openOnDemand: true }] } as const
        yield* live(withHistory, (vhost) =>
          Effect.gen(function*() {
            yield* say(vhost, 1)
            if (restarts) return
            yield* vhost.setChannelRules([{ pattern: ".*", openOnDemand: true }])
            expect(yield* vhost.channels.list).toEqual([])
            yield* vhost.setChannelRules([])
          }))
        if (restarts) yield* live(without, (vhost) => vhost.channels.persisted)
        expect((yield* stored).filter(({ _tag }) => _tag === "Channel")).toEqual([])
        // Nobody has opened it for good.
        yield* live({}, ({ channels }) => Effect.map(channels.list, (list) => expect(list).toEqual([])))
      })
  )

  it.effect.each([{ kills: true }, { kills: false }])(
    "is there after a restart, with its epoch, positions and what each browser does not receive, killed: $kills",
    ({ kills }) =>
      Effect.gen(function*() {
        const { kill, live } = yield* make
        const before = yield* live(options, (vhost) =>
          Effect.gen(function*() {
            yield* opened(vhost)
            const { browser, subscribed } = yield* join(vhost)
            yield* Effect.forEach([1, 2, 3], (n) => say(vhost, n))
            yield* say(vhost, 4, "room", "a")
            yield* vhost.channels.persisted
            const received = browser.received() as ReadonlyArray<Received>
            if (kills) kill()
            return { epoch: subscribed.epoch, position: received[0]![":at"], last: received[2]![":at"] }
          }))
        yield* live(options, (vhost) =>
          Effect.gen(function*() {
            const { epoch, position } = before
            const other = yield* join(vhost, { since: { epoch, position, sid: "b" } })
            // Its own sid is that of whom the last was not for.
            expect(other.subscribed).toMatchObject({ epoch, recovered: true, missed: 2, more: false })
            expect(numbers(other.rest)).toEqual([2, 3])
            expect(other.rest[1]![":at"]).toBe(before.last)
            expect(other.subscribed.position).toBeGreaterThan(before.last)
            yield* say(vhost, 5)
            const [live] = other.browser.received() as ReadonlyArray<Received>
            expect(live![":at"]).toBeGreaterThan(before.last)
          }))
      })
  )

  it.effect("has another epoch if the store may lack what was written last", () =>
    Effect.gen(function*() {
      const { kill, live, loseLast } = yield* make
      const since = yield* live(options, (vhost) =>
        Effect.gen(function*() {
          yield* opened(vhost)
          const { subscribed: { epoch, position } } = yield* join(vhost)
          yield* say(vhost, 1)
          yield* vhost.channels.persisted
          kill()
          return { epoch, position }
        }))
      loseLast()
      const epoch = yield* live(options, (vhost) =>
        Effect.gen(function*() {
          const { rest, subscribed } = yield* join(vhost, { since })
          expect([subscribed.recovered, subscribed.reason, rest]).toEqual([false, "epoch", []])
          expect(numbers((yield* join(vhost, { rewind: 5 })).rest)).toEqual([1])
          return subscribed.epoch
        }))
      expect(epoch).not.toBe(since.epoch)
      yield* live(options, (vhost) => Effect.map(join(vhost), ({ subscribed }) => expect(subscribed.epoch).toBe(epoch)))
    }))

  it.effect("knows what was dropped and closed before", () =>
    Effect.gen(function*() {
      const { live } = yield* make
      const few = { channelRules: every, history: { count: 2 } }
      const cursors = yield* live(few, (vhost) =>
        Effect.gen(function*() {
          yield* opened(vhost)
          yield* vhost.channels.open("hall")
          const [room, hall] = [yield* join(vhost), yield* join(vhost, {}, "hall")]
          yield* Effect.forEach([1, 2, 3, 4], (n) => say(vhost, n))
          yield* say(vhost, 1, "hall")
          yield* vhost.channels.close("hall")
          yield* vhost.channels.open("hall")
          const { epoch, position } = room.subscribed
          const [, second] = room.browser.received() as ReadonlyArray<Received>
          return {
            first: { epoch, position },
            second: { epoch, position: second![":at"] },
            hall: { epoch, position: hall.subscribed.position }
          }
        }))
      yield* live(few, (vhost) =>
        Effect.gen(function*() {
          expect((yield* join(vhost, { since: cursors.first })).subscribed).toMatchObject({ reason: "dropped" })
          expect(numbers((yield* join(vhost, { since: cursors.second })).rest)).toEqual([3, 4])
          expect((yield* join(vhost, { since: cursors.hall }, "hall")).subscribed).toMatchObject({ reason: "closed" })
          expect((yield* join(vhost, { rewind: 9 }, "hall")).rest).toEqual([])
        }))
    }))

  it.effect("is recovered though nothing was broadcast for long", () =>
    Effect.gen(function*() {
      const { live } = yield* make
      const since = yield* live(options, (vhost) =>
        Effect.gen(function*() {
          yield* opened(vhost)
          yield* say(vhost, 1)
          const { subscribed: { epoch, position } } = yield* join(vhost)
          return { epoch, position }
        }))
      yield* TestClock.adjust("1 day")
      yield* live(options, (vhost) =>
        Effect.map(join(vhost, { since }), ({ subscribed }) => expect(subscribed.recovered).toBe(true)))
      // The broker that dropped the last broadcast has recorded that.
      yield* live(options, (vhost) =>
        Effect.map(join(vhost, { since }), ({ subscribed }) =>
          expect(subscribed.recovered).toBe(true)))
    }))

  it.effect("gets no older by a restart, and no younger", () =>
    Effect.gen(function*() {
      const { live } = yield* make
      const short = { ...options, history: { age: "1 minute" } } as const
      yield* live(short, (vhost) =>
        Effect.gen(function*() {
          yield* opened(vhost)
          yield* say(vhost, 1)
          yield* TestClock.adjust("40 seconds")
          yield* say(vhost, 2)
        }))
      yield* TestClock.adjust("15 seconds")
      const left = (vhost: Vhosts.Vhost) => Effect.map(join(vhost, { rewind: 9 }), ({ rest }) => numbers(rest))
      yield* live(short, (vhost) =>
        Effect.gen(function*() {
          expect(yield* left(vhost)).toEqual([1, 2])
          yield* TestClock.adjust("10 seconds")
          expect(yield* left(vhost)).toEqual([2])
        }))
      yield* TestClock.adjust("1 minute")
      yield* live(short, (vhost) => Effect.map(left(vhost), (all) => expect(all).toEqual([])))
    }))

  it.effect("is limited as the next broker says", () =>
    Effect.gen(function*() {
      const { live } = yield* make
      const since = yield* live(options, (vhost) =>
        Effect.gen(function*() {
          yield* opened(vhost)
          const { subscribed: { epoch, position } } = yield* join(vhost)
          yield* Effect.forEach([1, 2, 3, 4], (n) => say(vhost, n))
          return { epoch, position }
        }))
      const few = { ...options, history: { count: 2 } }
      yield* live(few, (vhost) =>
        Effect.map(join(vhost, { since }), ({ subscribed }) => expect(subscribed.reason).toBe("dropped")))
      yield* live(options, (vhost) =>
        Effect.gen(function*() {
          expect((yield* join(vhost, { since })).subscribed.reason).toBe("dropped")
          expect(numbers((yield* join(vhost, { rewind: 9 })).rest)).toEqual([3, 4])
        }))
    }))

  it.effect("ends where the next broker has none for the channel, and begins anew", () =>
    Effect.gen(function*() {
      const { live } = yield* make
      const none = {}
      const since = yield* live(options, (vhost) =>
        Effect.gen(function*() {
          yield* opened(vhost)
          const { subscribed: { epoch, position } } = yield* join(vhost)
          yield* say(vhost, 1)
          return { epoch, position }
        }))
      yield* live(none, (vhost) =>
        Effect.gen(function*() {
          expect((yield* join(vhost, { since })).subscribed).toMatchObject({ recovered: false, reason: "dropped" })
          yield* say(vhost, 2)
        }))
      yield* live(options, (vhost) =>
        Effect.gen(function*() {
          expect((yield* join(vhost, { since })).subscribed).toMatchObject({ recovered: false, reason: "closed" })
          expect((yield* join(vhost, { rewind: 9 })).rest).toEqual([])
        }))
    }))

  it.effect("rejects broadcasts while no position can be reserved, and everything else goes on", () =>
    Effect.gen(function*() {
      const { fail, kill, live } = yield* make
      yield* live(options, opened)
      const last = yield* live(options, (vhost) =>
        Effect.gen(function*() {
          yield* say(vhost, 1)
          yield* vhost.channels.persisted
          kill()
          return (yield* join(vhost)).subscribed.position
        }))
      fail(true)
      yield* live(options, (vhost) =>
        Effect.gen(function*() {
          yield* vhost.channels.open("other")
          yield* vhost.channels.broadcast("other", "said", {})
          expect(yield* Effect.flip(say(vhost, 2))).toMatchObject({ code: 597 })
          // Nobody learns of a position that the next broker may use again.
          const { subscribed } = yield* join(vhost, { rewind: 1 })
          expect(subscribed).toMatchObject({ missed: 1 })
          fail(false)
          yield* TestClock.adjust("1 second")
          yield* vhost.channels.persisted
          const { browser } = yield* join(vhost)
          yield* say(vhost, 3)
          const [message] = browser.received() as ReadonlyArray<Received>
          expect(message![":at"]).toBeGreaterThan(subscribed.position)
          expect(message![":at"]).toBeGreaterThan(last)
        }))
    }))
})
