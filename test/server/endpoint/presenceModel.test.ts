import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect } from "effect"
import { TestClock } from "effect/testing"
import { enter, makeVhost } from "../../harness/browserSession.ts"
import { eventually, turn } from "../../harness/eventually.ts"
import * as Model from "../../harness/presenceModel.ts"
import { costly, int, oneOf, pick } from "../../protocol/arbitraries.ts"

const room = "presence-room"

type Step =
  | {
    readonly _tag: "Join"
    readonly uid: string
    readonly version: 0 | 1
    readonly isHidden: boolean
    readonly n: number
  }
  | { readonly _tag: "Leave"; readonly index: number; readonly how: "unsubscribe" | "return" | "gone" }
  | { readonly _tag: "Update"; readonly index: number; readonly n: number }
  | { readonly _tag: "Advance"; readonly millis: number }
  | { readonly _tag: "Disconnect"; readonly uid: string }
  | { readonly _tag: "Reopen" }

const join: Arbitrary.Arbitrary<Step> = Arbitrary.all({
  _tag: Arbitrary.Constant("Join" as const),
  uid: pick(["joe", "joe", "ann"]),
  version: pick([0, 1, 1]),
  isHidden: pick([true, false, false]),
  n: int(0, 1)
})
const leave: Arbitrary.Arbitrary<Step> = Arbitrary.all({
  _tag: Arbitrary.Constant("Leave" as const),
  index: int(0, 9),
  how: pick(["unsubscribe", "return", "return", "gone", "gone"])
})
const update: Arbitrary.Arbitrary<Step> = Arbitrary.all({
  _tag: Arbitrary.Constant("Update" as const),
  index: int(0, 9),
  n: int(0, 2)
})
const advance: Arbitrary.Arbitrary<Step> = Arbitrary.all({
  _tag: Arbitrary.Constant("Advance" as const),
  millis: pick([1, 500, 1000, 1500, 2999, 3000])
})
const step: Arbitrary.Arbitrary<Step> = oneOf(
  join,
  join,
  join,
  leave,
  leave,
  leave,
  update,
  advance,
  pick([{ _tag: "Reopen" }, { _tag: "Disconnect", uid: "joe" }, { _tag: "Advance", millis: 2000 }, {
    _tag: "Advance",
    millis: 500
  }])
)

interface Payload {
  readonly uid: string
  readonly sid?: string
  readonly from?: string
  readonly n?: number
  readonly data?: { readonly n: number }
  readonly subscribers?: ReadonlyArray<Payload>
}

/** What a browser knows of the members, by what it has received. What it receives must fit to what it knows. */
const viewOf = (version: 0 | 1) => {
  const members = new Map<string, { readonly uid: string; readonly n: number }>()
  const uids: Array<string> = []
  const join = ({ data, sid, uid }: Payload) => {
    uids.push(uid)
    if (version === 0) return
    expect(members.has(sid!)).toBe(false)
    members.set(sid!, { uid, n: data!.n })
  }
  const take = (name: string, payload: Payload) => {
    const { data, from, sid, subscribers, uid } = payload
    switch (name) {
      case ":subscribed":
        return subscribers!.forEach(join)
      case ":memberJoined":
        return join(payload)
      case ":memberLeft":
        expect(uids).toContain(uid)
        uids.splice(uids.indexOf(uid), 1)
        if (version === 1) expect(members.delete(sid!)).toBe(true)
        return
      case ":memberUpdated":
        expect([version, members.get(sid!)?.uid]).toEqual([1, uid])
        expect(members.get(sid!)?.n).not.toBe(data!.n)
        return members.set(sid!, { uid, n: data!.n })
      case ":memberMoved":
        expect([version, members.get(from!)?.uid, members.has(sid!)]).toEqual([1, uid, false])
        members.set(sid!, members.get(from!)!)
        return members.delete(from!)
      default:
        expect([":updated", ":unsubscribed", ":authenticated"]).toContain(name)
    }
  }
  return {
    take: (messages: ReadonlyArray<unknown>) => {
      for (const message of messages) {
        for (const [name, payload] of Object.entries(message as Record<string, Payload>)) take(name, payload)
      }
    },
    members: () => Object.fromEntries(members),
    uids: () => uids.toSorted()
  }
}

const nameOf = (event: unknown) => {
  const [name, { uid }] = Object.entries(event as Record<string, { readonly uid?: string }>)[0]!
  return [name.replace(":lifecycle/", ""), ...uid === undefined ? [] : [uid]].join(" ")
}

const makeReal = Effect.fnUntraced(function*() {
  const world = yield* makeVhost({ heartbeat: { interval: "1 hour" } })
  yield* world.attendAs(true)
  const browsers = new Map<string, ReturnType<typeof enter> & { readonly view: ReturnType<typeof viewOf> }>()
  let last = 0
  return {
    world,
    browsers,
    join: Effect.fnUntraced(function*({ isHidden, n, uid, version }: Extract<Step, { readonly _tag: "Join" }>) {
      const sid = String(++last)
      const browser = enter(world, sid, version)
      const view = viewOf(version)
      view.take(yield* browser.authenticate(uid))
      view.take(yield* browser.send("subscribe", { channel: room, hidden: isHidden, data: { n } }))
      browsers.set(sid, { ...browser, view })
      return { sid, uid, version, isHidden, n }
    }),
    // Graces end in turns of the event loop, of which there are several if the machine is busy.
    lifecycle: Effect.map(world.vhost.channels.subscribersAfter(room, 0), ({ items }) => ({
      away: items.filter(({ value }) => value.isAway).length,
      events: world.triggered.filter((event) => !JSON.stringify(event).includes("/browser")).map(nameOf)
    })),
    forget: () => void world.triggered.splice(0)
  }
})

/** Waits until as much has ended as has in the model. */
const settled = (real: Effect.Success<ReturnType<typeof makeReal>>, model: ReturnType<typeof Model.make>) =>
  eventually(real.lifecycle, ({ away, events }) => away === model.away() && events.length >= model.events())

const run = Effect.fnUntraced(function*(
  step: Step,
  real: Effect.Success<ReturnType<typeof makeReal>>,
  model: ReturnType<typeof Model.make>
) {
  const chosen = "index" in step ? model.live()[step.index % Math.max(1, model.live().length)] : undefined
  const browser = chosen && real.browsers.get(chosen.sid)!
  switch (step._tag) {
    case "Join":
      return model.join(yield* real.join(step))
    case "Leave": {
      if (chosen === undefined || browser === undefined) return
      if (step.how === "unsubscribe") yield* browser.send("unsubscribe", { channel: room })
      yield* browser.session.end(step.how === "return")
      real.browsers.delete(chosen.sid)
      return model.leave(chosen, step.how === "return")
    }
    case "Update":
      if (chosen?.version !== 1 || browser === undefined) return
      chosen.n = step.n
      return browser.view.take(yield* browser.send("update", { channel: room, data: { n: step.n } }))
    case "Advance":
      // Time that goes on before all is swept would count as one in which the process stood still.
      for (const millis of model.partsOf(step.millis)) {
        yield* TestClock.adjust(millis)
        model.advance(millis)
        yield* Effect.andThen(turn, settled(real, model))
      }
      return
    case "Disconnect":
      yield* real.world.vhost.browsers.disconnect("uid", step.uid)
      for (const { sid, uid } of model.live()) {
        if (uid !== step.uid) continue
        yield* real.browsers.get(sid)!.session.end(false)
        real.browsers.delete(sid)
      }
      return model.disconnect(step.uid)
    case "Reopen":
      yield* real.world.vhost.channels.close(room)
      yield* real.world.vhost.channels.open(room)
      // Who is left is not subscribed any more.
      for (const { session } of real.browsers.values()) yield* session.end(true)
      real.browsers.clear()
      return model.close()
  }
})

describe("Presence, model", () => {
  it.effect.prop(
    "every browser sees the members, and each transition is a lifecycle event once, after any steps",
    [Arbitrary.array(step, { minLength: 10, maxLength: 60 })],
    ([steps]) =>
      Effect.gen(function*() {
        const real = yield* makeReal()
        const model = Model.make()
        const toTheEnd: ReadonlyArray<Step> = [{ _tag: "Advance", millis: 10_000 }]
        for (const step of [...steps, ...toTheEnd]) {
          yield* run(step, real, model)
          yield* settled(real, model)
          const expected = model.takeLifecycle().toSorted()
          expect((yield* real.lifecycle).events.toSorted()).toEqual(expected)
          real.forget()
          const members = model.members()
          for (const [sid, { browser, view }] of real.browsers) {
            view.take(browser.received())
            expect(view.uids(), sid).toEqual(members.map(({ uid }) => uid).toSorted())
            if (browser.version === 0) continue
            expect(view.members()).toEqual(Object.fromEntries(members.map(({ n, sid, uid }) => [sid, { uid, n }])))
          }
        }
        // All that is listed is subscribed: no grace is left.
        const { items } = yield* real.world.vhost.channels.subscribersAfter(room, 0)
        expect(items.map(({ value }) => value.browser.sid).toSorted()).toEqual(
          model.members().map(({ sid }) => sid).toSorted()
        )
        expect(items.filter(({ value }) => value.isAway)).toEqual([])
      }),
    costly(60, 60)
  )
})
