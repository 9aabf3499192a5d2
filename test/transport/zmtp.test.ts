/**
 * The bytes of ZeroMQ: read the same however they are cut, bounded, and harmless whatever they are.
 */
import { assert, describe, expect, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import * as Zmtp from "../../src/transport/internal/zmtp.ts"
import { int } from "../protocol/arbitraries.ts"

const bytes = Arbitrary.map(Arbitrary.array(int(0, 255), { maxLength: 600 }), (values) => Buffer.from(values))
const message = Arbitrary.array(bytes, { minLength: 1, maxLength: 8 })
const cuts = Arbitrary.array(int(1, 200), { minLength: 1, maxLength: 20 })

const encode = (frames: ReadonlyArray<string | Uint8Array>): Buffer => {
  const buffer = Buffer.alloc(Zmtp.sizeOf(frames))
  expect(Zmtp.write(buffer, 0, frames)).toBe(buffer.length)
  return buffer
}

/** All that a parser gives of a stream that is cut into chunks of these lengths, round and round. */
const read = (parser: Zmtp.Parser, stream: Buffer, lengths: ReadonlyArray<number>): ReadonlyArray<Zmtp.Part> => {
  const parts: Array<Zmtp.Part> = []
  for (let at = 0, cut = 0; at < stream.length; cut++) {
    const length = lengths[cut % lengths.length]!
    parser.feed(stream.subarray(at, at + length))
    for (let part = parser.next(); part !== undefined; part = parser.next()) parts.push(part)
    at += length
  }
  return parts
}

const copied = (part: Zmtp.Part) => part._tag === "Message" ? part.frames.map((frame) => frame.toString("hex")) : part

/** A parser behind the handshake. */
const ready = (limit: number): Zmtp.Parser => {
  const parser = Zmtp.makeParser(limit)
  parser.feed(Buffer.from(Zmtp.greeting))
  expect(parser.next()).toEqual({ _tag: "Greeting", mechanism: "NULL" })
  return parser
}

describe("a parser of ZMTP", () => {
  it.prop("gives the same messages however their bytes are cut", [
    Arbitrary.array(message, { maxLength: 6 }),
    cuts
  ], ([messages, cuts]) => {
    const stream = Buffer.concat([Zmtp.greeting, ...messages.map(encode)])
    expect(read(Zmtp.makeParser(100_000), stream, cuts).map(copied)).toEqual([
      { _tag: "Greeting", mechanism: "NULL" },
      ...messages.map((frames) => frames.map((frame) => frame.toString("hex")))
    ])
  })

  it.prop("bears any bytes, and gives nothing more than it may", [bytes, cuts], ([stream, cuts]) => {
    for (const parser of [Zmtp.makeParser(200), ready(200)]) {
      for (const part of read(parser, stream, cuts)) {
        if (part._tag !== "Message" && part._tag !== "TooLarge") continue
        assert.isAtMost(part.frames.reduce((sum, frame) => sum + frame.length + 16, 0), 200)
      }
    }
  })

  it.prop("goes on behind a message that is too large", [int(2, 30), int(0, 3), cuts], ([count, large, cuts]) => {
    const parser = ready(400)
    const frames = Array.from({ length: count }, (_, index) => Buffer.alloc(index % 3 === 0 ? 10 : large * 100))
    const size = frames.reduce((sum, frame) => sum + frame.length + 16, 0)
    const parts = read(parser, Buffer.concat([encode(frames), encode(["after"])]), cuts)
    assert.strictEqual(parts.length, 2)
    assert.strictEqual(parts[0]!._tag, size > 400 ? "TooLarge" : "Message")
    expect(copied(parts[1]!)).toEqual([Buffer.from("after").toString("hex")])
  })

  it("has at most 64 frames in a message", () => {
    const many = (count: number) => encode(Array.from({ length: count }, () => "x"))
    expect(read(ready(100_000), many(64), [1000])[0]).toMatchObject({ _tag: "Message", frames: { length: 64 } })
    expect(read(ready(100_000), many(65), [1000])).toMatchObject([{ _tag: "TooLarge", isFrame: false }])
  })

  it("tells of a frame that is too large before it has come", () => {
    const parser = ready(1000)
    parser.feed(Buffer.from([2, 0, 0, 0, 0, 0x40, 0, 0, 0]))
    expect(parser.next()).toMatchObject({ _tag: "TooLarge", isFrame: true })
  })

  const greeting = (change: (bytes: Buffer) => void) => {
    const bytes = Buffer.from(Zmtp.greeting)
    change(bytes)
    return bytes
  }
  it.each<[string, Buffer, string]>([
    ["an older version", greeting((bytes) => bytes.writeUInt8(1, 10)).subarray(0, 12), "older"],
    ["no signature", Buffer.alloc(64, 0xfe), "not that of ZeroMQ"],
    ["encryption", greeting((bytes) => bytes.write("CURVE", 12)), "encrypt"],
    ["a password", greeting((bytes) => bytes.write("PLAIN\0", 12)), "log in"]
  ])("refuses a greeting with %s", (_, bytes, problem) => {
    const parts = read(Zmtp.makeParser(1000), bytes, [5])
    expect(parts).toMatchObject([{ _tag: "Malformed", problem: expect.stringContaining(problem) }])
  })

  it.each<[string, Array<number>]>([
    ["unknown flags", [8, 0]],
    ["a command with more to come", [5, 1, 0]],
    ["an endless command", [6, 0, 0, 0, 0, 0, 1, 0, 0]]
  ])("reads nothing more after a frame with %s", (_, frame) => {
    const parser = ready(1000)
    parser.feed(Buffer.from([...frame, 0, 1, 65]))
    expect(parser.next()?._tag).toBe("Malformed")
    expect(parser.next()).toBeUndefined()
  })

  it("reads the properties of a READY, and bears those that are cut", () => {
    const body = Buffer.from(Zmtp.encodeProperties({ "Socket-Type": "DEALER", "Identity": "x".repeat(255) }))
    expect(String(Zmtp.propertiesOf(body)?.get("identity"))).toBe("x".repeat(255))
    for (let length = 1; length < body.length; length++) {
      const properties = Zmtp.propertiesOf(body.subarray(0, length))
      assert.isTrue(properties === undefined || properties.size === 1)
    }
  })
})
