/**
 * Users without number: what they cost the broker, in time and in memory.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as JsonText from "../../../src/protocol/JsonText.ts"
import { cpuTime } from "../../harness/cpuTime.ts"
import * as Vhost from "../../harness/vhost.ts"

/** Browsers that only count what they receive. */
const many = (count: number) =>
  Array.from({ length: count }, (_, n) => {
    const browser = {
      sid: `sid ${n}`,
      version: 1 as const,
      received: 0,
      sendUnsafe: () => void browser.received++,
      closeUnsafe: () => {}
    }
    return browser
  })

const text = { text: "x".repeat(100) }

describe("inboxes", () => {
  it.effect("of 10 000 users are bounded in number and in bytes", () =>
    Effect.gen(function*() {
      const maxUsers = 1000
      const { browsers, state } = Vhost.make({
        rules: Vhost.rules({ pattern: ":user", history: true }),
        historyMaxUsers: maxUsers
      })
      for (let n = 0; n < 10_000; n++) yield* browsers.sendToUser(`user ${n}`, "news", text)
      const { inboxes } = state
      expect(inboxes.unattended.size()).toBe(maxUsers)
      expect(inboxes.attended.size).toBe(0)
      expect(state.histories.size).toBeLessThan(maxUsers * 1000)
    }))

  it.effect("take no longer the more users are remembered", () =>
    Effect.gen(function*() {
      const costOf = Effect.fnUntraced(function*(users: number) {
        const { browsers } = Vhost.make({
          rules: Vhost.rules({ pattern: ":user", history: { count: 1 } }),
          historyMaxUsers: users
        })
        const send = (n: number) => browsers.sendToUser(`user ${n % users}`, "news", text)
        for (let n = 0; n < users; n++) yield* send(n)
        const start = cpuTime()
        for (let n = 0; n < 20_000; n++) yield* send(n)
        return cpuTime() - start
      })
      const few = yield* costOf(1000)
      expect(yield* costOf(30_000)).toBeLessThan(5 * few + 200)
    }), 60_000)

  it.effect("of a user with 1000 browsers give each its message, and its subscriptions do not hold up others", () =>
    Effect.gen(function*() {
      const { browsers, channels } = Vhost.make()
      yield* channels.open("presence-room")
      const all = many(1000)
      for (const browser of all) {
        browsers.enterUnsafe(browser)
        Effect.runSync(browsers.identify(browser, "joe"))
        yield* channels.subscribe(":user", browser, {
          permission: { uid: "joe", allows: () => false },
          hidden: false,
          data: JsonText.empty
        })
      }
      expect(yield* browsers.sendToUser("joe", "news", text)).toBe(1000)
      for (const { received } of all) expect(received).toBe(2)
      let turns = 0
      const others = yield* Effect.forkChild(Effect.forever(Effect.sync(() => turns++)))
      expect(yield* browsers.subscribe("joe", "presence-room")).toBe(1000)
      expect(turns).toBeGreaterThan(10)
      expect(yield* browsers.unsubscribe("joe", "presence-room")).toBe(1000)
      others.interruptUnsafe()
      for (const browser of all) {
        yield* channels.leave(browser)
        Effect.runSync(browsers.leave(browser, false))
      }
      expect(channels.counters.subscriptions).toBe(0)
    }))

  it.effect("leave out browsers that have left while a user was subscribed", () =>
    Effect.gen(function*() {
      const { browsers, channels } = Vhost.make()
      yield* channels.open("presence-room")
      const all = many(300)
      for (const browser of all) {
        browsers.enterUnsafe(browser)
        Effect.runSync(browsers.identify(browser, "joe"))
      }
      const leaving = yield* Effect.forkChild(Effect.sync(() => {
        for (const browser of all) Effect.runSync(browsers.leave(browser, false))
      }))
      const subscribed = yield* browsers.subscribe("joe", "presence-room")
      expect(subscribed).toBeGreaterThan(0)
      expect(subscribed).toBeLessThan(300)
      expect(leaving.pollUnsafe()).toBeDefined()
      // Those that were subscribed have left it, too.
      expect(channels.counters.subscriptions).toBe(0)
    }))
})
