/**
 * The subscriptions of a browser: those that say the same are one object, and every other one is its own.
 */
import { describe, expect, it } from "@effect/vitest"
import { constVoid } from "effect/Function"
import * as JsonText from "../../../../src/protocol/JsonText.ts"
import type { Browser, Subscription } from "../../../../src/server/domain/Browser.ts"
import * as BrowserSubscriptions from "../../../../src/server/engine/internal/browserSubscriptions.ts"
import * as Channel from "../../../../src/server/engine/internal/channel.ts"
import * as Member from "../../../../src/server/engine/internal/member.ts"
import { ruleOf } from "../../../../src/server/engine/internal/rules.ts"
import * as Vhost from "../../../harness/vhost.ts"

const browser: Browser = { sid: "a", version: 1, sendUnsafe: constVoid, closeUnsafe: constVoid }

const subscription = (differences: Partial<Subscription> = {}): Subscription => ({
  browser,
  uid: undefined,
  info: undefined,
  hidden: false,
  byBackend: false,
  data: JsonText.empty,
  member: undefined,
  ...differences
})

const channel = (name: string) =>
  Channel.make({ name, kind: "normal", rule: ruleOf(Vhost.rules({ pattern: ".*" }), name), isOnDemand: false })

describe("BrowserSubscriptions", () => {
  it("shares what says the same, and nothing else", () => {
    const all = BrowserSubscriptions.make()
    const add = (added: Subscription) => {
      const room = channel("room")
      const value = BrowserSubscriptions.add(all, room, added)
      room.subscriptions.set(value.browser, { cursor: 0, value })
      return value
    }
    const first = add(subscription())
    expect(add(subscription())).toBe(first)
    const data = new JsonText.ObjectText(`{"a":1}`)
    const others: ReadonlyArray<Partial<Subscription>> = [
      { browser: { ...browser, sid: "b" } },
      { data },
      { info: data },
      { member: Member.make("joe"), uid: "joe" },
      { uid: "joe" },
      { hidden: true },
      { byBackend: true },
      {}
    ]
    const values = new Set([first])
    for (const differences of others) {
      const value = add(subscription(differences))
      expect(value).toEqual(subscription(differences))
      expect(values).not.toContain(value)
      values.add(value)
    }
    const last = add(subscription())
    add(subscription({ data }))
    expect(add(subscription())).toBe(last)
  })

  it("has the channels in order, and the bytes of all data", () => {
    const all = BrowserSubscriptions.make()
    const channels = ["a", "b", "c"].map(channel)
    const own = channels.map((one, n) =>
      BrowserSubscriptions.add(all, one, subscription({ data: new JsonText.ObjectText(`{"n":${n}}`) }))
    )
    BrowserSubscriptions.remove(all, channels[1]!, own[1]!)
    expect(BrowserSubscriptions.dataSizeOf(all, browser)).toBe(14)
    expect(BrowserSubscriptions.channelsOf(all, browser).map(({ name }) => name)).toEqual(["a", "c"])
    BrowserSubscriptions.remove(all, channels[0]!, own[0]!)
    BrowserSubscriptions.remove(all, channels[2]!, own[2]!)
    expect([all.channels.size, all.dataSizes.size]).toEqual([0, 0])
  })
})
