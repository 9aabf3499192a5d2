/** Whatever a browser sends is answered as the protocol says. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect } from "effect"
import { legalAnswers, matches, nearlyMessage } from "../../../harness/browserAnswers.ts"
import { enter, error, makeVhost } from "../../../harness/browserSession.ts"
import { anyText, bytes, costly, garbage, oneOf, pick } from "../../../protocol/arbitraries.ts"

describe("BrowserSession", () => {
  describe("an invalid message", () => {
    it.effect.each<[string | Uint8Array]>([
      [""],
      ["not json"],
      ["null"],
      ["7"],
      [`"subscribe"`],
      ["[]"],
      [`[{"close":{}}]`],
      ["{}"],
      [`{"subscribe":{"channel":"room"},"close":{}}`],
      [`{"close":{},"close2":{}}`],
      [`{"subscribe":"room"}`],
      [`{"close":null}`],
      [`{"close":[]}`],
      [`{"close":7}`],
      [`{"nonsense":{}}`],
      [`{"Close":{}}`],
      [`{":connected":{"sid":"a"}}`],
      [`{"__proto__":{"channel":"room"}}`],
      [`{"constructor":{"channel":"room"}}`],
      [`{"close":{}`],
      [`{"close":{}} {"close":{}}`],
      [`${"[".repeat(100_000)}${"]".repeat(100_000)}`],
      [`{"trigger":{"event":"x","data":${`{"a":`.repeat(100_000)}1${"}".repeat(100_000)}}}`],
      [new TextEncoder().encode(`{"close":{}}`)],
      [new Uint8Array(0)]
    ])("is answered with 400: %j", ([message]) =>
      Effect.gen(function*() {
        const world = yield* makeVhost()
        const a = enter(world, "a")
        yield* a.authenticate("joe")
        expect(yield* a.sendText(message)).toEqual([error(400)])
        // Nothing has changed.
        expect((yield* world.vhost.channels.list).every(({ subscribers }) => subscribers === 0)).toBe(true)
        expect((yield* world.vhost.lobby.info).queued).toBe(0)
        expect(yield* a.send("subscribe", { channel: "private-room" })).toMatchObject([{ ":subscribed": {} }])
      }))
  })

  describe("property", () => {
    const handle = Effect.fnUntraced(function*(messages: ReadonlyArray<string | Uint8Array>, authenticated: boolean) {
      const world = yield* makeVhost({ queue: { capacity: 3 } })
      const a = enter(world, "a")
      if (authenticated) yield* a.authenticate("joe", "room|pr.*")
      for (const message of messages) {
        const goesOn = yield* a.session.handle(message)
        const heard = a.browser.received()
        const [legal, ...more] = legalAnswers(message).filter((answer) => matches(answer, heard))
        expect({ message, heard, legal }).toMatchObject({ legal: expect.any(Array) as unknown })
        expect(more).toEqual([])
        expect(goesOn).toBe(heard.every((told) => !Object.hasOwn(told as object, ":closed")))
      }
      yield* a.session.end(false)
      expect((yield* world.vhost.channels.list).every(({ subscribers }) => subscribers === 0)).toBe(true)
    })

    it.effect.prop(
      "answers any text or bytes with 400 or with a valid response",
      [
        Arbitrary.array(oneOf<string | Uint8Array>(garbage, anyText, bytes), { maxLength: 5 }),
        pick([true, false])
      ],
      ([messages, authenticated]) => handle(messages, authenticated),
      costly(80)
    )

    it.effect.prop(
      "answers any JSON in a batch as it does alone",
      [Arbitrary.array(oneOf<string>(nearlyMessage, pick(["7", "[]", "{}", `"{"`])), { maxLength: 8 })],
      ([messages]) =>
        Effect.gen(function*() {
          const [alone, together] = [yield* makeVhost(), yield* makeVhost()]
          const [a, b] = [enter(alone, "a", 1), enter(together, "a", 1)]
          yield* a.authenticate("joe", "room|pr.*")
          yield* b.authenticate("joe", "room|pr.*")
          const answers: Array<unknown> = []
          for (const message of messages) {
            if (!(yield* a.session.handle(message.startsWith("[") ? `[${message}]` : message))) break
          }
          answers.push(...a.browser.received())
          expect(yield* b.sendText(`[${messages.join(" , ")}]`)).toEqual(answers)
        }),
      costly(50)
    )

    it.effect.prop(
      "answers any JSON that is close to the protocol with a valid response",
      [
        Arbitrary.array(nearlyMessage, { maxLength: 30 }),
        pick([true, false])
      ],
      ([messages, authenticated]) => handle(messages, authenticated),
      costly(80, 30)
    )
  })
})
