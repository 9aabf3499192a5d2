/** Channels are what the protocol says that they are, after any steps. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect } from "effect"
import type { Event } from "../../../../src/protocol/Trigger.ts"
import { makeWith } from "../../../harness/channels.ts"
import * as Model from "../../../harness/channelsModel.ts"
import * as FakeBrowser from "../../../harness/FakeBrowser.ts"
import { costly } from "../../../protocol/arbitraries.ts"

describe("Channels", () => {
  describe("property", () => {
    it.effect.prop("what each browser receives equals a model, after any sequence", [
      Arbitrary.array(Model.step, { maxLength: 60 })
    ], ([steps]) =>
      Effect.gen(function*() {
        const announced: Array<Event> = []
        const channels = makeWith({
          maxChannels: 4,
          memberDataSize: 4096,
          emit: (event) => announced.push(event)
        })
        const model = Model.make(4)
        const real = new Map<string, FakeBrowser.FakeBrowser>(Model.sids.map((sid) => [sid, FakeBrowser.make(sid)]))
        for (const step of steps) {
          const browser = "sid" in step && step.sid !== undefined ? real.get(step.sid)! : undefined
          const failure = yield* Model.carryOut(channels, step, browser)
          const before = model.present()
          expect(failure).toBe(model.carryOut(step))
          const after = model.present()
          expect(announced.splice(0).map(Model.shortly).toSorted()).toEqual([
            ...after.filter((one) => !before.includes(one)).map((one) => `came: ${one}`),
            ...before.filter((one) => !after.includes(one)).map((one) => `went: ${one}`)
          ].toSorted())
          for (const [sid, { received }] of real) expect(received()).toEqual(model.heard(sid))
          const list = yield* channels.list
          expect(list.map(({ name, subscribers }) => [name, subscribers])).toEqual(model.list())
          expect(channels.counters).toEqual(model.counters())
          for (const [name] of model.list()) {
            const on = (yield* channels.subscribersAfter(String(name), 0)).items
            expect(on.map(({ value }) => value.browser.sid)).toEqual(model.subscribers(String(name)))
            for (const [index, { cursor }] of on.entries()) {
              expect((yield* channels.subscribersAfter(String(name), cursor)).items).toEqual(on.slice(index + 1))
            }
          }
          const open = (yield* channels.listAfter("pr", 0)).items
          expect(open.map(({ value }) => value.name)).toEqual(
            model.list().map(([name]) => name).filter((name) => String(name).startsWith("pr"))
          )
          for (const [index, { cursor }] of open.entries()) {
            expect((yield* channels.listAfter("pr", cursor)).items).toEqual(open.slice(index + 1))
          }
        }
      }), costly(50, 60))
  })
})
