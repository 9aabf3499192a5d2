import { describe, expect, it } from "@effect/vitest"
import * as BrowserMessage from "../../src/protocol/BrowserMessage.ts"
import * as Lifecycle from "../../src/protocol/Lifecycle.ts"
import type { Event } from "../../src/protocol/Trigger.ts"

describe("Lifecycle", () => {
  const events: ReadonlyArray<readonly [Event, string, object]> = [
    [Lifecycle.channelOccupied("room"), ":lifecycle/channelOccupied", { channel: "room" }],
    [Lifecycle.channelVacated("room"), ":lifecycle/channelVacated", { channel: "room" }],
    [Lifecycle.memberJoined("presence-a", "joe", { channel: "x" }), ":lifecycle/memberJoined", {
      channel: "presence-a",
      uid: "joe",
      data: { channel: "x" }
    }],
    [Lifecycle.memberLeft("presence-a", "joe", {}), ":lifecycle/memberLeft", {
      channel: "presence-a",
      uid: "joe",
      data: {}
    }],
    [Lifecycle.browserConnected("s"), ":lifecycle/browserConnected", { sid: "s" }],
    [Lifecycle.browserDisconnected("s", undefined), ":lifecycle/browserDisconnected", { sid: "s" }],
    [Lifecycle.browserDisconnected("s", "joe"), ":lifecycle/browserDisconnected", { sid: "s", uid: "joe" }]
  ]

  it.each(events)("says what happened, to whom: %j", (event, name, data) => {
    expect(event).toStrictEqual({ event: name, data })
  })

  it.each(events)("cannot be triggered by a browser: %j", ({ data, event }) => {
    for (
      const message of [
        { trigger: { event, data } },
        { broadcast: { channel: "room", event, data } },
        { broadcast: { channel: "room", event: "hello", data, trigger: event } }
      ]
    ) {
      expect(BrowserMessage.decode(JSON.stringify(message))).toMatchObject({ failure: { code: 400 } })
    }
  })
})
