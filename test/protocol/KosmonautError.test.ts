import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Schema } from "effect"
import * as KosmonautError from "../../src/protocol/KosmonautError.ts"
import * as Status from "../../src/protocol/Status.ts"

const {
  BadRequestError,
  BrowserNotFoundError,
  ChannelNotFoundError,
  ConnectionClosedError,
  ConnectionError,
  ConnectionRefusedError,
  ConnectionTimeoutError,
  DeadlineExceededError,
  DeadLetterNotFoundError,
  EndOfFileError,
  ForbiddenError,
  HandlerFailedError,
  TooManyRequestsError,
  InternalError,
  InvalidChannelNameError,
  InvalidEndpointError,
  InvalidEventNameError,
  InvalidOptionError,
  MalformedMessageError,
  MessageDecodeError,
  MessageEncodeError,
  NotSubscribedError,
  NoWorkerError,
  ProtocolError,
  RequestTimeoutError,
  ResponseError,
  UnauthorizedError,
  UndefinedHandlerError,
  UnknownServerError,
  UntrustedBrokerError
} = KosmonautError

const cause = new Error("the cause of it")
const after = Duration.seconds(5)

/** One error of each class, its code, and what its message must tell. */
const errors = [
  [new BadRequestError({ detail: "no channel" }), "BadRequestError", 400, ["Bad request (400)", "no channel"]],
  [new UnauthorizedError({ detail: "no vhost" }), "UnauthorizedError", 402, ["Unauthorized (402)", "no vhost"]],
  [new ForbiddenError({ detail: "no permission" }), "ForbiddenError", 403, ["Forbidden (403)", "no permission"]],
  [new TooManyRequestsError({ detail: "200 messages a second" }), "TooManyRequestsError", 429, [
    "Too many requests (429)",
    "200 messages"
  ]],
  [new InvalidChannelNameError({ channel: "%%%" }), "InvalidChannelNameError", 451, [
    "Invalid channel name (451)",
    `"%%%"`,
    "255"
  ]],
  [new NotSubscribedError({ channel: "room" }), "NotSubscribedError", 453, ["Not subscribed (453)", `"room"`]],
  [new ChannelNotFoundError({ channel: "room" }), "ChannelNotFoundError", 454, ["Channel not found (454)", `"room"`]],
  [new BrowserNotFoundError({ sid: "s1" }), "BrowserNotFoundError", 455, ["Browser not found (455)", `"s1"`]],
  [new DeadLetterNotFoundError({ id: "a-1" }), "DeadLetterNotFoundError", 456, [
    "Dead letter not found (456)",
    `"a-1"`
  ]],
  [new NoWorkerError({ event: "chat/say" }), "NoWorkerError", 457, ["No worker (457)", `"chat/say"`]],
  [new HandlerFailedError({ event: "chat/say", detail: "its handler failed" }), "HandlerFailedError", 458, [
    "Handler failed (458)",
    `"chat/say"`,
    "its handler failed"
  ]],
  [new DeadlineExceededError({ event: "chat/say" }), "DeadlineExceededError", 459, [
    "Deadline exceeded (459)",
    `"chat/say"`
  ]],
  [new InternalError({ detail: "no pattern" }), "InternalError", 597, ["Internal error (597)", "no pattern"]],
  [new EndOfFileError(), "EndOfFileError", 598, ["End of file (598)"]],
  [new UnknownServerError({ code: 499 }), "UnknownServerError", 499, ["499"]],
  [new ResponseError({ event: "chat/rename", error: "taken" }), "ResponseError", undefined, [
    `"chat/rename"`,
    "taken"
  ]],
  [new InvalidOptionError({ option: "prefetch", value: "0", allowed: "from 1" }), "InvalidOptionError", undefined, [
    "prefetch",
    "0",
    "from 1"
  ]],
  [new InvalidEndpointError({ url: "ws://h", detail: "no scheme" }), "InvalidEndpointError", undefined, [
    `"ws://h"`,
    "no scheme",
    "wr://"
  ]],
  [new ConnectionRefusedError({ address: "h:1" }), "ConnectionRefusedError", undefined, [
    "Could not connect",
    "h:1"
  ]],
  [
    new ConnectionClosedError({ address: "h:1", cause }),
    "ConnectionClosedError",
    undefined,
    [
      "Lost",
      "h:1",
      "(the cause of it)"
    ]
  ],
  [new ConnectionTimeoutError({ address: "h:1" }), "ConnectionTimeoutError", undefined, [
    "Received nothing",
    "h:1"
  ]],
  [new MalformedMessageError({ address: "h:1" }), "MalformedMessageError", undefined, [
    "Could not understand",
    "h:1"
  ]],
  [new UntrustedBrokerError({ address: "h:1", cause }), "UntrustedBrokerError", undefined, [
    "Could not trust",
    "h:1",
    "(the cause of it)"
  ]],
  [
    new ConnectionError({ reason: new ConnectionClosedError({ address: "h:1", cause }) }),
    "ConnectionError",
    undefined,
    [
      "Lost",
      "h:1",
      "(the cause of it)"
    ]
  ],
  [new RequestTimeoutError({ command: "BC", after, wasSent: "maybe" }), "RequestTimeoutError", undefined, [
    "did not respond to BC",
    "5s"
  ]],
  [new RequestTimeoutError({ command: "BC", after, wasSent: "no" }), "RequestTimeoutError", undefined, [
    "BC was not sent",
    "5s"
  ]],
  [
    new MessageEncodeError({ argument: "argument 1 of BC", detail: "no text", cause }),
    "MessageEncodeError",
    undefined,
    ["argument 1 of BC", "no text", "(the cause of it)"]
  ],
  [new MessageDecodeError({ detail: "no event", cause }), "MessageDecodeError", undefined, [
    "no event",
    "(the cause of it)"
  ]],
  [new ProtocolError({ reason: new BadRequestError({ detail: "no channel" }) }), "ProtocolError", undefined, [
    "Bad request (400)",
    "no channel"
  ]],
  [new UndefinedHandlerError({ event: "chat/sey", groups: ["game"] }), "UndefinedHandlerError", undefined, [
    `"chat/sey"`,
    `handlers of "game" only`
  ]],
  [new UndefinedHandlerError({ event: "chat/sey", groups: ["chat"] }), "UndefinedHandlerError", undefined, [
    `the group "chat" has no such event`
  ]],
  [new InvalidEventNameError({ event: "sey" }), "InvalidEventNameError", undefined, [`"sey"`, "group/event"]]
] as const

/** Why there is no connection. */
const reasons = [
  ConnectionRefusedError,
  ConnectionClosedError,
  ConnectionTimeoutError,
  MalformedMessageError,
  UntrustedBrokerError
]

/** The exported classes by their tags, which are their names. */
const classes = { ...KosmonautError }

const codeOf = (error: object) => "code" in error ? error.code : undefined

describe("KosmonautError", () => {
  it("says of a lost connection whether the request may have been executed, and whether to try again", () => {
    const errors = reasons.map((Reason) => new ConnectionError({ reason: new Reason({ address: "h:1" }) }))
    expect(errors.map(({ address }) => address)).toEqual(reasons.map(() => "h:1"))
    expect(errors.map(({ wasSent }) => wasSent)).toEqual(["no", "maybe", "maybe", "maybe", "no"])
    expect(errors.map(({ isRetryable }) => isRetryable)).toEqual([true, true, true, false, false])
  })

  it.each(errors)("has a tag, a code and a message that tells what is wrong: %s", (error, tag, code, told) => {
    expect(error).toBeInstanceOf(Error)
    expect(error).toBeInstanceOf(classes[tag])
    expect(error._tag).toBe(tag)
    expect(codeOf(error)).toBe(code)
    for (const part of told) expect(error.message).toContain(part)
    for (const text of [String(error), error.stack]) expect(text).toContain(error.message)
  })

  it("is among the errors tested here, whatever its class", () => {
    const names = Object.keys(classes).filter((name) => name.endsWith("Error"))
    expect(new Set<string>(errors.map(([, tag]) => tag))).toEqual(new Set(names))
  })

  type AnyError = (typeof errors)[number][0]

  it.effect.each(errors)("is caught by its tag and by no other: %s", ([error, tag]) =>
    Effect.gen(function*() {
      const failing: Effect.Effect<never, AnyError> = Effect.fail(error)
      expect(yield* Effect.catchTag(failing, tag, (caught: AnyError) => Effect.succeed(caught))).toBe(error)
      for (const [, other] of errors) {
        if (other === tag) continue
        const missed = Effect.catchTag(failing, other, () => Effect.succeed("caught"))
        expect(yield* Effect.flip(missed)).toBe(error)
      }
    }))

  it.effect("can be yielded, and its type tells which are left", () =>
    Effect.gen(function*() {
      const failing = (tag: string) =>
        Effect.gen(function*() {
          if (tag === "BadRequestError") return yield* new BadRequestError({ detail: "no channel" })
          return yield* new ChannelNotFoundError({ channel: "room" })
        })
      const handled = (tag: string): Effect.Effect<string> =>
        failing(tag).pipe(
          Effect.catchTag("BadRequestError", (error) => {
            const code: 400 = error.code
            return Effect.succeed(`${code} ${error.detail}`)
          }),
          Effect.catchTag("ChannelNotFoundError", (error) => {
            const code: 454 = error.code
            return Effect.succeed(`${code} ${error.channel}`)
          })
        )
      expect(yield* handled("BadRequestError")).toBe("400 no channel")
      expect(yield* handled("ChannelNotFoundError")).toBe("454 room")
    }))

  it("quotes values from outside, and no more than the first 100 characters of them", () => {
    const long = `${"a".repeat(100)}${"b".repeat(100_000)}`
    for (
      const make of [
        (channel: string) => new InvalidChannelNameError({ channel }),
        (channel: string) => new NotSubscribedError({ channel }),
        (channel: string) => new ChannelNotFoundError({ channel }),
        (sid: string) => new BrowserNotFoundError({ sid }),
        (id: string) => new DeadLetterNotFoundError({ id }),
        (url: string) => new InvalidEndpointError({ url, detail: "it is not a URL" })
      ]
    ) {
      expect(make(long).message).toContain(`"${"a".repeat(100)}…"`)
      expect(make(long).message).not.toMatch(/a{100}b/)
      expect(make(long).message.length).toBeLessThan(350)
      expect(make("a".repeat(100)).message).toContain(`"${"a".repeat(100)}"`)
      expect(make("a".repeat(101)).message).toContain(`"${"a".repeat(100)}…"`)
      expect(make("\"\n\0\ud800").message).toContain(`"\\"\\n\\u0000\\ud800"`)
    }
  })

  it("tells of its cause only where that is an error with a message", () => {
    for (const nothing of [undefined, null, "text", 1, {}, new Error("")]) {
      expect(new MessageDecodeError({ detail: "no event", cause: nothing }).message).toBe(
        "Cannot read a message: no event"
      )
    }
    expect(new MessageDecodeError({ detail: "no event" }).message).toBe("Cannot read a message: no event")
  })

  it("keeps its cause", () => {
    expect(new ConnectionClosedError({ address: "h:1", cause }).cause).toBe(cause)
  })

  it.each(errors)("survives being written as data and read again: %s", (error, tag) => {
    const schema: Schema.Codec<AnyError, unknown> = Schema.toCodecJson(classes[tag])
    const data: unknown = JSON.parse(JSON.stringify(Schema.encodeSync(schema)(error)))
    const copy = Schema.decodeUnknownSync(schema)(data)
    expect(copy).toBeInstanceOf(classes[tag])
    expect([copy._tag, codeOf(copy), copy.message]).toEqual([tag, codeOf(error), error.message])
  })

  it("has one class for each status code that is an error, and none for the others", () => {
    const codes = errors.map(([error]) => error).filter((error) => !(error instanceof UnknownServerError)).map(codeOf)
    const expected = Object.keys(Status.text).map(Number).filter((code) => code >= 400 && code !== 408)
    expect(codes.filter((code) => code !== undefined)).toEqual(expected)
  })

  it("names the codes of WebRocket 0.3 as it does, and has some of its own", () => {
    expect(Status.text).toEqual({
      201: "Authenticated",
      202: "Subscribed",
      203: "Unsubscribed",
      204: "Broadcasted",
      205: "Triggered",
      207: "Closed",
      250: "Channel opened",
      251: "Channel exists",
      252: "Channel closed",
      270: "Single access token generated",
      300: "Ready",
      301: "Heartbeat",
      305: "Connected",
      309: "Disconnected",
      400: "Bad request",
      402: "Unauthorized",
      403: "Forbidden",
      408: "Expired",
      429: "Too many requests",
      451: "Invalid channel name",
      453: "Not subscribed",
      454: "Channel not found",
      455: "Browser not found",
      456: "Dead letter not found",
      457: "No worker",
      458: "Handler failed",
      459: "Deadline exceeded",
      597: "Internal error",
      598: "End of file"
    })
  })

  it("makes the error of each status code by one table, with what is known of the request", () => {
    const about = { detail: "why", channel: "room", sid: "s1", id: "a-1", event: "chat/say" }
    for (const code of Object.keys(Status.text).map(Number).filter((code) => code >= 400 && code !== 408)) {
      const error = KosmonautError.fromCode(code, about)
      expect(codeOf(error)).toBe(code)
      expect(error).not.toBeInstanceOf(UnknownServerError)
      if ("detail" in error) expect(error.detail).toBe("why")
      if ("channel" in error) expect(error.channel).toBe("room")
      if ("sid" in error) expect(error.sid).toBe("s1")
      if ("id" in error) expect(error.id).toBe("a-1")
      if ("event" in error) expect(error.event).toBe("chat/say")
    }
    for (const code of [0, 204, 408, 499, 1e9]) {
      expect(KosmonautError.fromCode(code, about)).toEqual(new UnknownServerError({ code }))
    }
  })

  it.effect("is caught by its reason", () =>
    Effect.gen(function*() {
      const lost: Effect.Effect<string, InstanceType<typeof ConnectionError>> = Effect.fail(
        new ConnectionError({ reason: new ConnectionRefusedError({ address: "h:1" }) })
      )
      expect(
        yield* Effect.catchReason(lost, "ConnectionError", "ConnectionRefusedError", (reason) =>
          Effect.succeed(reason.address))
      ).toBe("h:1")
      const missed = Effect.catchReason(lost, "ConnectionError", "ConnectionClosedError", () =>
        Effect.succeed("caught"))
      expect((yield* Effect.flip(missed)).reason._tag).toBe("ConnectionRefusedError")
    }))

  it("says what may be repeated, and what was surely not sent", () => {
    const timeout = new classes.RequestTimeoutError({ command: "BC", after: Duration.seconds(5), wasSent: "maybe" })
    const other = new classes.UnauthorizedError({ detail: "no" })
    const all = [
      ...reasons.map((Reason) => new ConnectionError({ reason: new Reason({ address: "h:1" }) })),
      timeout,
      new RequestTimeoutError({ command: "BC", after, wasSent: "no" }),
      other,
      "text",
      undefined
    ]
    expect(all.map(classes.wasNotSent)).toEqual([true, false, false, false, true, false, true, false, false, false])
    expect(all.map(classes.isRetryable)).toEqual([true, true, true, false, false, true, true, false, false, false])
  })
})
