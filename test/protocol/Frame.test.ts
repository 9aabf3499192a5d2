import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Result } from "effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as Frame from "../../src/protocol/Frame.ts"
import * as FrameParser from "../../src/protocol/FrameParser.ts"
import { MessageDecodeError, MessageEncodeError } from "../../src/protocol/KosmonautError.ts"
import { cpuTime } from "../harness/cpuTime.ts"
import { anyText, bytes, costly, int, line, oneOf, pick, piecesOf, text } from "./arbitraries.ts"

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

const lineFrames = Arbitrary.array(line, { minLength: 1, maxLength: 6 })

/** Where a stream is cut into chunks; 3 is after the third byte, if it has one. */
const cuts = oneOf(Arbitrary.array(int(0, 400), { maxLength: 20 }), Arbitrary.Constant([...Array(600).keys()]))

const cut = (stream: Uint8Array, places: ReadonlyArray<number>): Array<Uint8Array> => {
  const starts = [0, ...places.filter((place) => place <= stream.length).toSorted((a, b) => a - b)]
  return starts.map((start, index) => stream.subarray(start, starts[index + 1] ?? stream.length))
}

const join = (...parts: ReadonlyArray<Uint8Array>): Uint8Array => new Uint8Array(Buffer.concat(parts))

const parse = (chunks: Iterable<Uint8Array>, parser = FrameParser.make()): Array<Frame.Frames> =>
  [...chunks].flatMap((chunk) => Result.getOrThrow(parser.push(chunk)))

/** The specification, word for word: a reader collects lines, and two that are exactly "\r" in a row end a message. */
const specified = (stream: Uint8Array): Array<Frame.Frames> => {
  const messages: Array<Frame.Frames> = []
  let lines: Array<string> = []
  for (const line of Buffer.from(stream).toString("latin1").split("\n").slice(0, -1)) {
    if (line === "\r" && lines.at(-1) === "\r") {
      messages.push(lines.slice(0, -1).map((frame) => Buffer.from(frame, "latin1").toString("utf8")))
      lines = []
    } else lines.push(line)
  }
  return messages
}

const failureOf = <E>(result: Result.Result<unknown, E>): E => Result.getOrThrow(Result.flip(result))

describe("Frame", () => {
  it("is a line, and a message ends with two lines of their own", () => {
    expect(Buffer.from(Frame.encode(["BC", "room", "hello", "{}"])).toString()).toBe("BC\nroom\nhello\n{}\n\r\n\r\n")
    expect(Buffer.from(Frame.encode(["HB"])).toString()).toBe("HB\n\r\n\r\n")
    expect(Buffer.from(Frame.encode(["OK", ""])).toString()).toBe("OK\n\n\r\n\r\n")
    expect(Frame.encode(["ż😀"])).toEqual(utf8("ż😀\n\r\n\r\n"))
  })

  it.prop("is read as it was written", [lineFrames], ([frames]) => {
    expect(parse([Frame.encode(frames)])).toEqual([frames])
  })

  it("makes a message of none, too", () => {
    expect(parse([Frame.encode([])])).toEqual([[]])
  })

  it.prop(
    "may hold anything but line breaks over classic TCP",
    [Arbitrary.array(text, { maxLength: 4 })],
    ([frames]) => {
      const allowed = !frames.some((frame) => frame.includes("\n") || frame.includes("\r"))
      expect(Result.isSuccess(Frame.check(frames, { maxMessageSize: 10_000, lines: true }))).toBe(allowed)
      expect(Result.isSuccess(Frame.check(frames, { maxMessageSize: 10_000, lines: false }))).toBe(true)
    }
  )

  it.each(["\r", "\n", "\r\n", "a\rb", "a\nb", "a\n", "\r\n\r\n"])("holds no line break: %j", (frame) => {
    const failure = failureOf(Frame.check(["BC", "room", frame], { maxMessageSize: 100, lines: true }))
    expect(failure).toBeInstanceOf(MessageEncodeError)
    expect(failure.argument).toBe("argument 2 of BC")
    expect(failure.message).toContain("argument 2 of BC")
    expect(failure.message).toContain("line break")
    expect(Frame.check(["BC", "room", frame], { maxMessageSize: 100, lines: false })).toEqual(
      Result.succeed(["BC", "room", frame])
    )
  })

  it.each(["\ud800", "\udc00", "a\udbff", "\ude00\ud83d", "😀".slice(0, 1)])(
    "holds no half of a character: %j",
    (frame) => {
      for (const lines of [true, false]) {
        const failure = failureOf(Frame.check(["OC", frame], { maxMessageSize: 100, lines }))
        expect(failure.argument).toBe("argument 1 of OC")
        expect(failure.message).toContain("surrogate")
      }
    }
  )

  it("is refused before its message is sent, whichever it is", () => {
    for (const place of [0, 1, 2, 3]) {
      const frames = ["BC", "a", "b", "c"].with(place, "\ud800")
      expect(failureOf(Frame.check(frames, { maxMessageSize: 100, lines: false })).argument).toMatch(
        `argument ${place} of`
      )
    }
  })

  it.prop("is refused for half a character always, for a line break over classic TCP", [
    Arbitrary.array(anyText, { minLength: 1, maxLength: 4 }),
    pick([true, false])
  ], ([frames, lines]) => {
    const allowed = frames.every((frame) => frame.isWellFormed() && !(lines && /[\r\n]/.test(frame)))
    expect(Result.isSuccess(Frame.check(frames, { maxMessageSize: 10_000, lines }))).toBe(allowed)
  })

  it.each([true, false])("makes a message of exactly the largest size and no larger, lines: %j", (lines) => {
    const fits = ["BC", "room", "x".repeat(88)]
    expect(Frame.encode(fits).length).toBe(101)
    expect(Frame.check(fits, { maxMessageSize: 101, lines })).toEqual(Result.succeed(fits))
    const failure = failureOf(Frame.check(fits, { maxMessageSize: 100, lines }))
    expect(failure).toBeInstanceOf(MessageEncodeError)
    expect(failure.message).toContain("101 bytes")
    expect(failure.message).toContain("100")
  })

  const wide = piecesOf(["a", "ż", "€", "😀"], 8)
  it.prop("is counted in bytes as it travels", [
    Arbitrary.array(oneOf(wide, line), { minLength: 1, maxLength: 12 }),
    int(-3, 3),
    pick([true, false])
  ], ([frames, difference, lines]) => {
    const size = Frame.encode(frames).length
    const result = Frame.check(frames, { maxMessageSize: size + difference, lines })
    expect(Result.isSuccess(result)).toBe(difference >= 0)
    if (Result.isFailure(result)) expect(result.failure.message).toContain(`${size} bytes`)
  }, costly(120))

  it.each(["x", "ż", "€", "😀"])("is counted in bytes where the largest message is large: %s", (char) => {
    const bytesOfChar = utf8(char).length
    for (const count of [1, 2, 3, 5, 8, 100]) {
      const frames = Array.from({ length: count }, () => char.repeat(Math.floor(100_000 / bytesOfChar / count)))
      const size = Frame.encode(frames).length
      expect(Result.isSuccess(Frame.check(frames, { maxMessageSize: size, lines: true }))).toBe(true)
      expect(Result.isSuccess(Frame.check(frames, { maxMessageSize: size - 1, lines: true }))).toBe(false)
    }
  })

  it("is not shown at full length in an error", () => {
    const long = "x".repeat(100_000)
    for (const frames of [["BC", "room", `${long}\n`], ["BC", long], [long, "room"], [`${long}\n`]]) {
      expect(failureOf(Frame.check(frames, { maxMessageSize: 1000, lines: true })).message.length).toBeLessThan(300)
    }
  })

  it.effect("is refused with an error that catchTag finds", () =>
    Effect.fromResult(Frame.check(["OC", "a\n"], { maxMessageSize: 100, lines: true })).pipe(
      Effect.catchTag("MessageEncodeError", (error) => Effect.succeed([error.argument])),
      Effect.map((caught) => expect(caught).toEqual(["argument 1 of OC"]))
    ))
})

describe("FrameParser", () => {
  it.prop("gives the same messages however their bytes are cut", [
    Arbitrary.array(lineFrames, { maxLength: 5 }),
    cuts
  ], ([messages, cuts]) => {
    const stream = join(...messages.map((frames) => Frame.encode(frames)))
    expect(parse(cut(stream, cuts))).toEqual(messages)
  })

  it.prop("reads any bytes as the specification says, however they are cut", [
    Arbitrary.array(oneOf(bytes, pick(["\r\n\r\n", "\n\r\n\r\n", "\r\n", "\r", "ż\n"].map(utf8))), { maxLength: 8 }),
    cuts
  ], ([parts, cuts]) => {
    const stream = join(...parts)
    expect(parse(cut(stream, cuts))).toEqual(specified(stream))
  }, costly(200))

  it.each([
    ["several messages in one chunk", ["HB\n\r\n\r\nQT\n\r\n\r\n"], [["HB"], ["QT"]]],
    ["the end of one and the begin of the next", ["HB\n\r\n", "\r\nQ", "T\n\r\n\r\n"], [["HB"], ["QT"]]],
    ["an end cut everywhere", ["HB", "\n", "\r", "\n", "\r", "\n"], [["HB"]]],
    ["empty chunks", ["", "HB\n", "", "\r\n\r\n", ""], [["HB"]]],
    ["empty frames", ["\n\nOK\n\n\n\r\n\r\n"], [["", "", "OK", "", ""]]],
    ["one empty frame", ["\n\r\n\r\n"], [[""]]],
    ["a message without frames", ["\r\n\r\n"], [[]]],
    ["a message without frames between two others", ["A\n\r\n\r\n\r\n\r\nB\n\r\n\r\n"], [["A"], [], ["B"]]],
    ["a frame that begins with a byte order mark", ["\u{FEFF}BC\n\u{FEFF}\n\r\n\r\n"], [["\u{FEFF}BC", "\u{FEFF}"]]],
    ["one lone \"\\r\" line", ["A\n\r\nB\n\r\n\r\n"], [["A", "\r", "B"]]],
    ["a lone \"\\r\" line before the first frame", ["\r\nA\n\r\n\r\n"], [["\r", "A"]]],
    ["three \"\\r\" lines", ["A\n\r\n\r\n\r\nB\n\r\n\r\n"], [["A"], ["\r", "B"]]],
    ["\"\\r\" within and at the end of frames", ["A\r\n\rB\nC\rD\n\r\r\n\r\n\r\n"], [["A\r", "\rB", "C\rD", "\r\r"]]],
    ["\"\\r\" without \"\\n\"", ["A\n\r\r\n\r\n\n\r\n\r\n"], [["A", "\r\r", "\r", ""]]],
    ["a message that is not finished", ["A\n\r\n\r\nB\n\r\n\r"], [["A"]]],
    ["a null character", ["\0\n\0A\n\r\n\r\n"], [["\0", "\0A"]]]
  ])("reads %s", (_, chunks, messages) => {
    expect(parse(chunks.map(utf8))).toEqual(messages)
    expect(parse(Array.from(utf8(chunks.join("")), (byte) => Uint8Array.of(byte)))).toEqual(messages)
  })

  it("reads characters that are cut in the middle", () => {
    const stream = Frame.encode(["BC", "zażółć", "€", "👩‍🚀\u{FEFF}"])
    for (let place = 0; place <= stream.length; place++) {
      expect(parse(cut(stream, [place]))).toEqual([["BC", "zażółć", "€", "👩‍🚀\u{FEFF}"]])
    }
  })

  it("makes U+FFFD of bytes that are not UTF-8, without touching the next frame", () => {
    const parser = FrameParser.make()
    expect(parse([Uint8Array.of(0xff, 0x0a, 0xf0, 0x9f, 0x0a, 0x41, 0x0a, 0x0d, 0x0a, 0x0d, 0x0a)], parser)).toEqual([
      ["\u{FFFD}", "\u{FFFD}", "A"]
    ])
    expect(parse([Frame.encode(["ż"])], parser)).toEqual([["ż"]])
  })

  it("keeps no hold of a chunk, which may be written over afterwards", () => {
    const parser = FrameParser.make()
    const chunk = utf8("HB\n\r\n")
    expect(parse([chunk], parser)).toEqual([])
    chunk.fill(0x58)
    expect(parse([utf8("\r\n")], parser)).toEqual([["HB"]])
  })

  it("is one of many, which do not disturb each other", () => {
    const [one, two] = [FrameParser.make(), FrameParser.make()]
    expect(parse([utf8("A\n\r\n")], one)).toEqual([])
    expect(parse([utf8("B\n\r\n\r\n")], two)).toEqual([["B"]])
    expect(parse([utf8("\r\n")], one)).toEqual([["A"]])
  })

  it.prop("takes any bytes without throwing, whatever the largest size", [
    Arbitrary.array(bytes, { maxLength: 6 }),
    oneOf(int(0, 30), Arbitrary.Constant(Frame.defaultMaxMessageSize))
  ], ([chunks, maxMessageSize]) => {
    const parser = FrameParser.make(maxMessageSize)
    for (const chunk of chunks) {
      const result = parser.push(chunk)
      if (Result.isFailure(result)) expect(result.failure).toBeInstanceOf(MessageDecodeError)
    }
  }, costly(120))

  // --- The bound -----------------------------------------------------------------------------------------------------

  /** The stream's messages until it failed, and whether it did. */
  const read = (parser: FrameParser.FrameParser, chunks: ReadonlyArray<Uint8Array>) => {
    const results = chunks.map((chunk) => parser.push(chunk))
    const failed = results.findIndex(Result.isFailure)
    return {
      messages: results.flatMap((result) => Result.isSuccess(result) ? result.success : []),
      failed: failed >= 0,
      failsOn: results.slice(Math.max(failed, 0)).every(Result.isFailure)
    }
  }

  it.prop("reads messages of exactly the largest size, however they are cut", [lineFrames, cuts, int(1, 3)], ([
    frames,
    cuts,
    count
  ]) => {
    const message = Frame.encode(frames)
    const stream = join(...Array.from({ length: count }, () => message))
    expect(parse(cut(stream, cuts), FrameParser.make(message.length))).toEqual(
      Array.from({ length: count }, () => frames)
    )
  })

  it.prop("fails at a message one byte larger, and goes on failing, however it is cut", [
    lineFrames,
    cuts,
    Arbitrary.array(oneOf(bytes, Arbitrary.Constant(utf8("HB\n\r\n\r\n"))), { maxLength: 4 })
  ], ([frames, cuts, more]) => {
    const message = Frame.encode(frames)
    const parser = FrameParser.make(message.length - 1)
    expect(read(parser, cut(message, cuts))).toMatchObject({ messages: [], failed: true })
    expect(read(parser, [...more, utf8(""), utf8("HB\n\r\n\r\n")])).toEqual({
      messages: [],
      failed: true,
      failsOn: true
    })
  })

  it.prop("fails at the same place of a stream that has no end, however it is cut", [
    lineFrames,
    bytes,
    cuts
  ], ([frames, rest, cuts]) => {
    const endless = join(Frame.encode(frames), rest.filter((byte) => byte !== 0x0a), new Uint8Array(300).fill(0x61))
    const bound = Math.max(Frame.encode(frames).length, 200)
    const fitting = endless.subarray(0, Frame.encode(frames).length + bound)
    const parser = FrameParser.make(bound)
    expect(parse(cut(fitting, cuts), parser)).toEqual([frames])
    expect(failureOf(parser.push(utf8("a"))).message).toContain(`${bound} bytes`)
  })

  it("reads messages up to 1 MiB unless told otherwise", () => {
    const largest = Frame.encode(["x".repeat(1_048_576 - 5)])
    expect(largest.length).toBe(Frame.defaultMaxMessageSize)
    expect(parse(cut(largest, [65_536, 131_072, 1_048_575]))[0][0].length).toBe(1_048_571)
    expect(failureOf(FrameParser.make().push(Frame.encode(["x".repeat(1_048_576 - 4)])))).toBeInstanceOf(
      MessageDecodeError
    )
    expect(failureOf(FrameParser.make().push(new Uint8Array(1_048_577)))).toBeInstanceOf(MessageDecodeError)
  })

  it("has a bound for each message and none for a chunk", () => {
    const stream = join(...Array.from({ length: 10_000 }, () => Frame.encode(["HB"])))
    expect(parse([stream], FrameParser.make(7))).toHaveLength(10_000)
    expect(Result.isFailure(FrameParser.make(6).push(stream))).toBe(true)
  })

  it.effect("fails with an error that catchTag finds", () =>
    Effect.fromResult(FrameParser.make(3).push(utf8("four"))).pipe(
      Effect.catchTag("MessageDecodeError", (error) => Effect.succeed([[error.detail]])),
      Effect.map((caught) => expect(caught).toEqual([["it is larger than 3 bytes"]]))
    ))

  // --- What it costs -------------------------------------------------------------------------------------------------

  setFlagsFromString("--expose-gc")
  const collectGarbage: () => void = runInNewContext("gc")

  /** How many more bytes are held in buffers after some work. */
  const bytesHeldBy = (work: () => void): number => {
    const held = () => {
      // Twice, since buffers are freed behind the first one's back.
      collectGarbage()
      collectGarbage()
      return process.memoryUsage().arrayBuffers
    }
    const before = held()
    work()
    return held() - before
  }

  it("holds nothing of the messages it has given", () => {
    const parser = FrameParser.make()
    const stream = join(...Array.from({ length: 1000 }, () => Frame.encode(["BC", "x".repeat(1000)])))
    const held = bytesHeldBy(() => {
      let count = 0
      // Every chunk ends in the middle of a message.
      for (let round = 0; round < 16; round++) {
        count += parse(cut(stream, [...Array(100).keys()].map((place) => place * 10_061 + 500)), parser).length
      }
      expect(count).toBe(16_000)
    })
    expect(held).toBeLessThan(1_000_000)
    expect(parse([utf8("A\n\r\n\r\n")], parser)).toEqual([["A"]])
  })

  it("holds nothing of a large message once it is given, also when the next has begun", () => {
    const parsers = Array.from({ length: 8 }, () => FrameParser.make())
    const stream = join(Frame.encode(["x".repeat(1_000_000)]), utf8("HB\n"))
    const held = bytesHeldBy(() => {
      for (const parser of parsers) expect(parse(cut(stream, [500_000]), parser)).toHaveLength(1)
    })
    expect(held).toBeLessThan(1_000_000)
    for (const parser of parsers) expect(parse([utf8("\r\n\r\n")], parser)).toEqual([["HB"]])
  })

  it("holds no more after it has failed, however much still comes", () => {
    const parser = FrameParser.make(1000)
    const chunk = new Uint8Array(100_000)
    const held = bytesHeldBy(() => {
      for (let round = 0; round < 100; round++) expect(Result.isFailure(parser.push(chunk))).toBe(true)
    })
    expect(held).toBeLessThan(1_000_000)
    expect(Result.isFailure(parser.push(utf8("HB\n\r\n\r\n")))).toBe(true)
  })

  it("takes time for the bytes that come and not again for those that wait, however small the chunks", () => {
    // Copying what waits with every chunk takes some seconds here; reading it once, some milliseconds.
    const parser = FrameParser.make()
    const chunk = new Uint8Array(8).fill(0x61)
    const start = cpuTime()
    for (let waiting = 0; waiting < 262_144; waiting += chunk.length) parser.push(chunk)
    expect(cpuTime() - start).toBeLessThan(500)
    expect(parse([utf8("\n\r\n\r\n")], parser)).toEqual([["a".repeat(262_144)]])
  })
})
