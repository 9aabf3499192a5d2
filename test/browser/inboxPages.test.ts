/**
 * Pages whose user is sent something while they are away: cut off, or not there at all.
 */
import { Effect } from "effect"
import { expect } from "vitest"
import { describeInChromium } from "../harness/chromium.ts"
import * as Site from "../harness/site.ts"

/** A page that writes down what its user is sent, over its reloads. */
const reads = `
  const mail = []
  const gaps = []
  const kept = localStorage.getItem("cursor")
  const inbox = connection.inbox(kept === null ? {} : { since: JSON.parse(kept) })
  inbox.on("mail", ({ n }, cursor) => {
    mail.push(n)
    localStorage.setItem("cursor", JSON.stringify(cursor))
  })
  inbox.onGap((reason) => gaps.push(reason))
`

describeInChromium("pages with an inbox", (it) => {
  it.effect("hear what their user was sent while they were away, in order and once", () =>
    Effect.gen(function*() {
      const site = yield* Site.make({ channelRules: [{ pattern: ":user", history: { count: 100, age: "1 hour" } }] })
      const send = (...numbers: ReadonlyArray<number>) =>
        Effect.forEach(numbers, (n) => site.client.sendToUser("joe", "mail", { n }))
      const joe = yield* site.open("joe", reads)
      const ann = yield* site.open("ann", reads)
      for (const tab of [joe, ann]) yield* tab.until(`inbox.state._tag === "Subscribed"`)
      expect(yield* send(1)).toEqual([1])
      yield* joe.until(`mail.length > 0`)

      yield* site.network.stall
      yield* site.network.cut("all")
      yield* joe.until(`connection.state._tag !== "Connected"`)
      yield* send(2, 3)
      yield* site.network.goOn
      yield* joe.until(`mail.length > 2`)
      yield* send(4)
      yield* joe.until(`mail.includes(4)`)
      expect(yield* joe.run("mail")).toEqual([1, 2, 3, 4])

      yield* Effect.promise(() => joe.page.goto(`${site.pages.origin}/code.js`))
      yield* send(5, 6)
      yield* Effect.promise(() => joe.page.goBack())
      yield* joe.until(`mail.length > 1`)
      yield* send(7)
      yield* joe.until(`mail.includes(7)`)
      expect(yield* joe.run("mail")).toEqual([5, 6, 7])
      expect(yield* joe.run("gaps")).toEqual([])
      expect(yield* ann.run("mail")).toEqual([])
      expect([...joe.faults, ...ann.faults]).toEqual([])
    }))
})
