import { describe, expect, it } from "@effect/vitest"
import * as ChannelName from "../../src/protocol/ChannelName.ts"
import { channel, garbage, oneOf } from "./arbitraries.ts"

describe("ChannelName", () => {
  it.each(["a", "Z", "7", "_", "room2", "presence-room", "private-", "a.b-c_d", "__proto__", "x".repeat(255)])(
    "allows %j",
    (name) => expect(ChannelName.isValid(name)).toBe(true)
  )

  it.each(["", "-a", ".a", "%%%", "a b", "a/b", "a\n", "\na", "a\nb", "ż", "aż", "a\0", "x".repeat(256)])(
    "refuses %j",
    (name) => expect(ChannelName.isValid(name)).toBe(false)
  )

  it.prop("allows exactly the names of WebRocket 0.3", [oneOf(channel, garbage)], ([name]) => {
    const [first, ...rest] = name
    const word = (char: string) => char.length === 1 && char < "\x7f" && (char === "_" || /[a-z0-9]/i.test(char))
    const expected = first !== undefined && word(first) &&
      rest.every((char) => word(char) || char === "-" || char === ".")
    expect(ChannelName.isValid(name)).toBe(expected)
  })

  it.each([
    ["room", "normal"],
    ["presence-room", "presence"],
    ["presence-", "presence"],
    ["presence-private-room", "presence"],
    ["private-room", "private"],
    ["private-presence-room", "private"],
    ["presence", "normal"],
    ["private", "normal"],
    ["presence.room-x", "normal"],
    ["presences-room", "normal"],
    ["privateroom", "normal"],
    ["Private-room", "normal"],
    ["my-private-room", "normal"],
    ["_presence-room", "normal"]
  ])("tells from the word before the first dash that %j is %s", (name, kind) => {
    expect(ChannelName.kind(name)).toBe(kind)
  })

  it.prop("reads a kind in any text", [garbage], ([name]) => {
    const dash = name.indexOf("-")
    const word = dash < 0 ? "" : name.slice(0, dash)
    expect(ChannelName.kind(name)).toBe(word === "presence" || word === "private" ? word : "normal")
  })
})
