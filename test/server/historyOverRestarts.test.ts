/** The history of channels over any course of broadcasts, restarts and kills. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect } from "effect"
import { TestClock } from "effect/testing"
import type * as Vhosts from "../../src/server/engine/Vhosts.ts"
import * as KillableStore from "../harness/killableStore.ts"
import { join, numbers, type Received, say } from "../harness/roomHistory.ts"
import { costly, int, oneOf, pick } from "../protocol/arbitraries.ts"

const every = [{ pattern: ".*", history: true }]

type Step =
  | { readonly do: "say"; readonly channel: string; readonly waits: boolean }
  | { readonly do: "close"; readonly channel: string }
  | { readonly do: "pass"; readonly seconds: number }
  | { readonly do: "recover"; readonly which: number }
  | { readonly do: "restart"; readonly how: "in order" | "killed" | "lost" }

const channels = ["room", "hall"] as const
const anyChannel = pick(channels)
const saying = Arbitrary.map(
  Arbitrary.all({ channel: anyChannel, waits: Arbitrary.map(int(0, 3), (n) => n === 0) }),
  (say): Step => ({ do: "say", ...say })
)
const recovering = Arbitrary.map(int(0, 1000), (which): Step => ({ do: "recover", which }))
const step: Arbitrary.Arbitrary<Step> = oneOf<Step>(
  saying,
  saying,
  saying,
  recovering,
  recovering,
  Arbitrary.map(anyChannel, (channel): Step => ({ do: "close", channel })),
  Arbitrary.map(int(1, 30), (seconds): Step => ({ do: "pass", seconds })),
  Arbitrary.map(pick(["in order", "killed", "killed", "lost"] as const), (how): Step => ({ do: "restart", how }))
)

interface Said {
  readonly n: number
  readonly channel: string
  readonly position: number
  readonly epoch: string
  readonly at: number
  isAnswered: boolean
}

interface Cursor {
  readonly channel: string
  readonly since: { readonly epoch: string; readonly position: number }
}

const limits = { count: 3, age: 60 }

describe("history over any restarts", () => {
  it.effect.prop(
    "is recovered whole or not at all, with a true reason, and never uses a position twice",
    [Arbitrary.array(step, { maxLength: 60 })],
    ([steps]) =>
      Effect.gen(function*() {
        const { kill, live, loseLast, stored } = yield* KillableStore.make()
        const all: Array<Said> = []
        const closed: Array<{ readonly channel: string; readonly after: number; readonly epoch: string }> = []
        const cursors: Array<Cursor> = []
        let now = 0
        let epoch: string | undefined

        const recover = (vhost: Vhosts.Vhost, { channel, since }: Cursor) =>
          Effect.gen(function*() {
            const { rest, subscribed } = yield* join(vhost, { since }, channel)
            cursors.push({ channel, since: { epoch: subscribed.epoch, position: subscribed.position } })
            const later = all.filter((one) =>
              one.channel === channel && one.epoch === since.epoch && one.position > since.position
            )
            const retained = later.slice(-limits.count).filter(({ at }) => at >= now - limits.age)
            if (subscribed.recovered) {
              const received = numbers(rest)
              expect(later.map(({ n }) => n).filter((n) => received.includes(n))).toEqual(received)
              expect(received).toEqual(expect.arrayContaining(later.filter((_) => _.isAnswered).map(({ n }) => n)))
            } else if (subscribed.reason === "epoch") expect(since.epoch).not.toBe(epoch)
            else if (subscribed.reason === "closed") {
              expect(closed.some((one) => one.channel === channel && one.after >= since.position)).toBe(true)
            } else expect(later.length).toBeGreaterThan(retained.length)
          })

        /** Until the next restart. */
        const life = (steps: ReadonlyArray<Step>, next: Step & { readonly do: "restart" } | undefined) =>
          live({ channelRules: every, history: { count: limits.count, age: `${limits.age} seconds` } }, (vhost) =>
            Effect.gen(function*() {
              const first = all.length
              const answer = () =>
                all.slice(first).forEach((one) => void (one.isAnswered = true))
              const browsers = new Map<string, Effect.Success<ReturnType<typeof join>>["browser"]>()
              const listen = Effect.fnUntraced(function*(channel: string) {
                yield* vhost.channels.open(channel)
                const { browser, subscribed } = yield* join(vhost, {}, channel)
                browsers.set(channel, browser)
                cursors.push({ channel, since: subscribed })
                if (epoch !== undefined) {
                  expect(subscribed.epoch).toBe(epoch)
                }
                epoch = subscribed.epoch
              })
              for (const channel of channels) {
                yield* listen(channel)
              }
              yield* vhost.channels.persisted
              for (const step of steps) {
                switch (step.do) {
                  case "say": {
                    yield* say(vhost, all.length, step.channel)
                    const [message] = browsers.get(step.channel)!.received() as ReadonlyArray<Received>
                    const said = {
                      n: all.length,
                      channel: step.channel,
                      position: message![":at"],
                      epoch: epoch!,
                      at: now,
                      isAnswered: false
                    }
                    expect(said.position).toBeGreaterThan(
                      all.findLast((one) => one.epoch === epoch)?.position ?? 0
                    )
                    all.push(said)
                    cursors.push({ channel: step.channel, since: { epoch: epoch!, position: said.position } })
                    if (step.waits) {
                      yield* vhost.channels.persisted
                      answer()
                    }
                    break
                  }
                  case "close":
                    closed.push({
                      channel: step.channel,
                      after: (yield* join(vhost, {}, step.channel)).subscribed.position,
                      epoch: epoch!
                    })
                    yield* vhost.channels.close(step.channel)
                    yield* listen(step.channel)
                    yield* vhost.channels.persisted
                    break
                  case "pass":
                    now += step.seconds
                    yield* TestClock.adjust(`${step.seconds} seconds`)
                    break
                  case "recover":
                    yield* recover(vhost, cursors[step.which % cursors.length]!)
                }
              }
              if (next === undefined || next.how === "in order") return answer()
              kill()
              // What was neither answered nor written is gone with that broker.
              if (next.how === "lost") {
                loseLast()
                epoch = undefined
              }
            }))

        let from = 0
        for (const [index, step] of [...steps, undefined].entries()) {
          if (step !== undefined && step.do !== "restart") {
            continue
          }
          yield* life(steps.slice(from, index), step)
          for (const channel of channels) {
            expect(
              (yield* stored).filter((one) =>
                one._tag === "Broadcast" && one.channel === channel
              ).length
            )
              .toBeLessThanOrEqual(limits.count)
          }
          from = index + 1
        }
      }).pipe(Effect.scoped),
    costly(30, 60)
  )
})
