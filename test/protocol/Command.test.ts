/** The commands of backends and of the broker, as they are written and read. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Result } from "effect"
import * as Command from "../../src/protocol/Command.ts"
import { FromClient, FromServer } from "../../src/protocol/Command.ts"
import * as CommandCodec from "../../src/protocol/CommandCodec.ts"
import * as Frame from "../../src/protocol/Frame.ts"
import * as FrameParser from "../../src/protocol/FrameParser.ts"
import { ObjectText } from "../../src/protocol/JsonText.ts"
import * as Trigger from "../../src/protocol/Trigger.ts"
import { anyText, fromClient, fromServer, jsonObject, line, origin, pick } from "./arbitraries.ts"

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

const parse = (bytes: Uint8Array) => Result.getOrThrow(FrameParser.make().push(bytes))

/** A command as it arrives over classic TCP. */
const carried = (frames: Frame.Frames) => {
  const [message, ...more] = parse(
    Frame.encode(Result.getOrThrow(Frame.check(frames, { maxMessageSize: 10_000, lines: true })))
  )
  expect(more).toEqual([])
  return message
}

describe("Command", () => {
  it.each<[FromClient, Frame.Frames]>([
    [FromClient.OpenChannel({ channel: "room" }), ["OC", "room"]],
    [FromClient.CloseChannel({ channel: "room" }), ["CC", "room"]],
    [FromClient.Broadcast({ channel: "room", event: "hello", data: `{"a":1}` }), ["BC", "room", "hello", `{"a":1}`]],
    [FromClient.AccessToken({ uid: "joe", pattern: ".*" }), ["AT", "joe", ".*"]],
    [
      FromClient.AccessTokenWith({ grant: { uid: "joe", pattern: ".*" } }),
      ["AX", `{"uid":"joe","pattern":".*"}`]
    ],
    [
      FromClient.AccessTokenWith({
        grant: {
          uid: "joe",
          pattern: ".*",
          channels: ["private-a", "b"],
          info: new ObjectText(`{"n": 12345678901234567890}`),
          expiresIn: 1500
        }
      }),
      [
        "AX",
        `{"uid":"joe","pattern":".*","channels":["private-a","b"],"expiresIn":1500,"info":{"n": 12345678901234567890}}`
      ]
    ],
    [
      FromClient.Broadcast({ channel: "room", event: "hello", data: "{}", exceptSid: "s" }),
      ["BX", "room", "hello", "{}", "s"]
    ],
    [FromClient.BroadcastAll({ broadcasts: `[["room","hello",{}]]` }), ["BA", `[["room","hello",{}]]`]],
    [FromClient.SendTo({ sid: "s", event: "hello", data: "{}" }), ["ST", "s", "hello", "{}"]],
    [FromClient.SendToUser({ uid: "joe", event: "hello", data: "{}" }), ["TU", "joe", "hello", "{}"]],
    [FromClient.SubscribeUser({ uid: "joe", channel: "room" }), ["SU", "joe", "room"]],
    [FromClient.UnsubscribeUser({ uid: "joe", channel: "room" }), ["UU", "joe", "room"]],
    [FromClient.ListChannels({ prefix: "", after: 0 }), ["LC", "", "0"]],
    [FromClient.ListChannels({ prefix: "presence-", after: 12 }), ["LC", "presence-", "12"]],
    [FromClient.DescribeChannel({ channel: "room" }), ["DC", "room"]],
    [FromClient.ListSubscribers({ channel: "room", after: 7 }), ["LS", "room", "7"]],
    [FromClient.ListHistory({ channel: "room", after: 7, limit: 0 }), ["LH", "room", "7", "0"]],
    [FromClient.Disconnect({ by: "sid", who: "s" }), ["DB", "sid", "s"]],
    [FromClient.Disconnect({ by: "uid", who: "joe" }), ["DB", "uid", "joe"]],
    [FromClient.DisconnectAndRevoke({ uid: "joe" }), ["DX", "joe"]],
    [FromClient.ListDeadLetters({ after: 0 }), ["LD", "0"]],
    [FromClient.ListDeadLetters({ after: 7 }), ["LD", "7"]],
    [FromClient.ReplayDeadLetter({ id: "a-1" }), ["RL", "a-1"]],
    [FromClient.ReplayDeadLetters(), ["RL", "*"]],
    [FromClient.DiscardDeadLetter({ id: "a-1" }), ["DL", "a-1"]],
    [FromClient.DiscardDeadLetters(), ["DL", "*"]],
    [
      FromClient.Request({ event: "chat/rename", data: `{"a":1}`, options: { timeout: 5000 } }),
      ["RQ", "chat/rename", `{"a":1}`, `{"timeout":5000}`]
    ],
    [FromClient.Request({ event: "chat/rename", data: "", options: {} }), ["RQ", "chat/rename", "", "{}"]],
    [FromClient.Trigger({ event: "chat/save", data: "{}", options: {} }), ["TG", "chat/save", "{}", "{}"]],
    [
      FromClient.Trigger({ event: "chat/save", data: "{}", options: { delay: 1500, dedupeKey: "a" } }),
      ["TG", "chat/save", "{}", `{"delay":1500,"dedupeKey":"a"}`]
    ],
    [FromClient.Ready({}), ["RD"]],
    [
      FromClient.Ready({ options: { lifecycle: false, responses: true, prefetch: 4 } }),
      ["RD", "ack", "4", `{"lifecycle":false,"responses":true}`]
    ],
    [FromClient.Respond({ delivery: "a-1", outcome: "ok", json: "null" }), ["RP", "a-1", "ok", "null"]],
    [FromClient.Respond({ delivery: "a-1", outcome: "error", json: `{"a":1}` }), ["RP", "a-1", "error", `{"a":1}`]],
    [FromClient.Ready({ options: { lifecycle: false } }), ["RD", `{"lifecycle":false}`]],
    [FromClient.Ready({ options: { lifecycle: true } }), ["RD", `{"lifecycle":true}`]],
    [FromClient.Ready({ options: { lifecycle: true, prefetch: 128 } }), ["RD", "ack", "128", `{"lifecycle":true}`]],
    [
      FromClient.Ready({ options: { lifecycle: false, prefetch: 0, maxAttempts: 3 } }),
      ["RD", "ack", "0", `{"lifecycle":false,"maxAttempts":3}`]
    ],
    [FromClient.Ack({ deliveries: ["a-1"] }), ["AK", "a-1"]],
    [FromClient.Ack({ deliveries: ["a-1", "a-2", "a-1"] }), ["AK", "a-1", "a-2", "a-1"]],
    [FromClient.Nack({ delivery: "a-1", reason: "" }), ["NK", "a-1", ""]],
    [FromClient.Nack({ delivery: "a-1", reason: "Error: no" }), ["NK", "a-1", "Error: no"]],
    [FromClient.Heartbeat(), ["HB"]],
    [FromClient.Quit(), ["QT"]]
  ])("of a backend is written and read: %j", (command, frames) => {
    expect(CommandCodec.encodeFromClient(command)).toEqual(frames)
    expect(CommandCodec.decodeFromClient(frames)).toEqual(Result.succeed(command))
  })

  it.each<[FromServer, Frame.Frames]>([
    [FromServer.Ok(), ["OK"]],
    [FromServer.Response({ json: "[204]" }), ["OK", "[204]"]],
    [FromServer.AccessTokenIssued({ token: "abc" }), ["AT", "abc"]],
    [FromServer.Failure({ code: 454 }), ["ER", "454"]],
    [FromServer.Failure({ code: 597, reason: "the queue is full" }), ["ER", "597", `{"reason":"the queue is full"}`]],
    [FromServer.Heartbeat(), ["HB"]],
    [FromServer.Quit(), ["QT"]],
    [FromServer.Trigger({ json: `{"chat/save":{}}` }), ["TR", `{"chat/save":{}}`]],
    [
      FromServer.Trigger({ json: `{"chat/save":{}}`, origin: `{"sid":"s"}` }),
      ["TR", `{"chat/save":{}}`, `{"sid":"s"}`]
    ],
    [FromServer.Trigger({ json: "{}", delivery: { id: "a-1", attempt: 1 } }), ["TR", "{}", "a-1", "1"]],
    [
      FromServer.Trigger({ json: "{}", origin: `{"sid":"s"}`, delivery: { id: "a-1", attempt: 12 } }),
      ["TR", "{}", "a-1", "12", `{"sid":"s"}`]
    ]
  ])("of the broker is written and read: %j", (command, frames) => {
    expect(CommandCodec.encodeFromServer(command)).toEqual(frames)
    expect(CommandCodec.decodeFromServer(frames)).toEqual(Result.succeed(command))
  })

  // What is a JSON object may have a meaning, see below.
  const more = Arbitrary.array(
    Arbitrary.map(anyText, (text) => text.startsWith("{") ? `x${text}` : text),
    { maxLength: 3 }
  )

  it.prop(
    "of a backend is read as it was written, whatever follows it",
    [fromClient(anyText), more],
    ([command, more]) => {
      const frames = CommandCodec.encodeFromClient(command)
      expect(CommandCodec.decodeFromClient(frames)).toEqual(Result.succeed(command))
      // Deliveries are acknowledged as many as there are.
      if (command._tag === "Ack") return
      expect(CommandCodec.decodeFromClient([...frames, ...more])).toEqual(Result.succeed(command))
    }
  )

  it.prop(
    "of the broker is read as it was written, whatever follows it",
    [fromServer(anyText), more],
    ([command, more]) => {
      const frames = CommandCodec.encodeFromServer(command)
      expect(CommandCodec.decodeFromServer(frames)).toEqual(Result.succeed(command))
      // Success with something behind it is another answer.
      if (command._tag === "Ok") return
      // And an event with something that is no origin behind it is a delivery.
      if (command._tag === "Trigger" && command.origin === undefined && command.delivery === undefined) return
      expect(CommandCodec.decodeFromServer([...frames, ...more])).toEqual(Result.succeed(command))
    }
  )

  it.prop("of a backend brings the span it belongs to, and means the same with it", [fromClient(anyText)], (
    [command]
  ) => {
    const frames = CommandCodec.encodeFromClient(command, traceparent)
    expect(frames.slice(0, -1)).toEqual(CommandCodec.encodeFromClient(command))
    // What a Worker says belongs to no span, and has its own use for the frame.
    if (["Ready", "Ack", "Nack", "Respond", "Heartbeat", "Quit"].includes(command._tag)) return
    expect(CommandCodec.decodeFromClient(frames)).toEqual(Result.succeed(command))
    expect(CommandCodec.traceparentOf(frames)).toBe(traceparent)
    expect(CommandCodec.traceparentOf(CommandCodec.encodeFromClient(command))).toBe(undefined)
  })

  it.each<[string, Frame.Frames]>([
    ["there is nothing", ["OC", "room"]],
    ["data is a JSON object that says so", ["BC", "room", "hello", `{"traceparent":"x"}`]],
    ["a pattern is a JSON object that says so", ["AT", "joe", `{"traceparent":"x"}`]],
    ["the data of one browser are", ["ST", "s", "hello", `{"traceparent":"x"}`]],
    ["the prefix is", ["LC", `{"traceparent":"x"}`, "0"]],
    ["the cursor is", ["LC", "a", `{"traceparent":"x"}`]],
    ["the cursor among subscribers is", ["LS", "a", `{"traceparent":"x"}`]],
    ["the cursor among dead letters is", ["LD", `{"traceparent":"x"}`]],
    ["the id of a dead letter is", ["RL", `{"traceparent":"x"}`]],
    ["the id of one to discard is", ["DL", `{"traceparent":"x"}`]],
    ["the data of a request are", ["RQ", "x", `{"traceparent":"x"}`]],
    ["the options of a request have it", ["RQ", "x", "{}", `{"traceparent":"x"}`]],
    ["the options of a trigger have it", ["TG", "x", "{}", `{"traceparent":"x"}`]],
    ["another broadcast's data are", ["BX", "room", "hello", "{}", `{"traceparent":"x"}`]],
    ["what follows says something else", ["OC", "room", `{"later":1}`]],
    ["what follows is no object", ["OC", "room", `"traceparent"`, "[]"]],
    ["it is no text", ["OC", "room", `{"traceparent":7}`]],
    ["it is empty", ["OC", "room", `{"traceparent":""}`]],
    ["it is not JSON", ["OC", "room", `{"traceparent":`]]
  ])("belongs to no span where %s", (_, frames) => {
    expect(CommandCodec.traceparentOf(frames)).toBe(undefined)
  })

  it("has its span behind whatever else follows the arguments", () => {
    expect(CommandCodec.traceparentOf(["OC", "room", "later", "", `{"traceparent":"x"}`])).toBe("x")
    expect(CommandCodec.traceparentOf(["BC", "room", "hello", "{}", `{"traceparent":"x"}`])).toBe("x")
  })

  it.each<[string, Frame.Frames, Command.ReadyOptions | undefined]>([
    ["nothing", ["RD"], undefined],
    ["an empty frame, as over TCP", ["RD", ""], undefined],
    ["no object", ["RD", "later", "[]", `"lifecycle"`], undefined],
    ["an empty object", ["RD", "{}"], { lifecycle: false }],
    ["what is not known", ["RD", `{"later":true}`], { lifecycle: false }],
    ["what is not JSON", ["RD", `{"lifecycle":`], { lifecycle: false }],
    ["no truth value", ["RD", `{"lifecycle":"true"}`], { lifecycle: false }],
    ["what is known among others", ["RD", `{"later":1,"lifecycle":true}`], { lifecycle: true }],
    ["it later", ["RD", "", `{"lifecycle":true}`], { lifecycle: true }],
    ["that it responds", ["RD", "ack", "5", `{"responses":true}`], { lifecycle: false, responses: true, prefetch: 5 }],
    ["that it responds, and no truth value", ["RD", "ack", "5", `{"responses":1}`], { lifecycle: false, prefetch: 5 }],
    ["how many it wants", ["RD", "ack", "5", "{}"], { lifecycle: false, prefetch: 5 }],
    ["that alone", ["RD", "ack", "5"], { lifecycle: false, prefetch: 5 }],
    ["that it acknowledges, in another case", ["RD", "ACK", "5", "{}"], { lifecycle: false }],
    ["that it acknowledges, at another position", ["RD", "", "ack", "5", "{}"], { lifecycle: false }],
    ["that it acknowledges, of nothing", ["RD", "ack"], { lifecycle: false, prefetch: 0 }],
    ["less than nothing", ["RD", "ack", "-1", "{}"], { lifecycle: false, prefetch: 0 }],
    ["more than there are numbers", ["RD", "ack", "9007199254740993", "{}"], { lifecycle: false, prefetch: 0 }],
    ["no number", ["RD", "ack", "many", `{"lifecycle":true}`], { lifecycle: true, prefetch: 0 }],
    ["an object for a number", ["RD", "ack", `{"lifecycle":true}`], { lifecycle: true, prefetch: 0 }],
    ["how often", ["RD", "ack", "5", `{"maxAttempts":3}`], { lifecycle: false, prefetch: 5, maxAttempts: 3 }],
    ["how often, and no number", ["RD", "ack", "5", `{"maxAttempts":"3"}`], { lifecycle: false, prefetch: 5 }]
  ])("of a worker that says of itself %s is read", (_, frames, options) => {
    expect(CommandCodec.decodeFromClient(frames)).toStrictEqual(Result.succeed(FromClient.Ready({ options })))
  })

  it.each<[string, number]>([
    ["", 0],
    ["0", 0],
    ["12", 12],
    ["9007199254740991", Number.MAX_SAFE_INTEGER],
    ["9007199254740993", 0],
    ["1.5", 0],
    ["NaN", 0],
    ["Infinity", 0],
    ["here", 0],
    ["{}", 0]
  ])("reads the cursor %j", (text, after) => {
    expect(CommandCodec.decodeFromClient(["LC", "a", text])).toEqual(
      Result.succeed(FromClient.ListChannels({ prefix: "a", after }))
    )
    expect(CommandCodec.decodeFromClient(["LS", "a", text])).toEqual(
      Result.succeed(FromClient.ListSubscribers({ channel: "a", after }))
    )
    expect(CommandCodec.decodeFromClient(["LD", text])).toEqual(Result.succeed(FromClient.ListDeadLetters({ after })))
  })

  it("lists from the beginning and everything where nothing is said", () => {
    const all = Result.succeed(FromClient.ListChannels({ prefix: "", after: 0 }))
    for (const frames of [["LC"], ["LC", ""]]) expect(CommandCodec.decodeFromClient(frames)).toEqual(all)
    expect(CommandCodec.decodeFromClient(["LS", "room"])).toEqual(
      Result.succeed(FromClient.ListSubscribers({ channel: "room", after: 0 }))
    )
    expect(CommandCodec.decodeFromClient(["LD"])).toEqual(Result.succeed(FromClient.ListDeadLetters({ after: 0 })))
  })

  it.prop("tells where an event comes from", [origin(anyText), jsonObject], ([origin, more]) => {
    expect(Trigger.decodeOrigin(Trigger.encodeOrigin(origin))).toEqual(origin)
    expect(Trigger.decodeOrigin(JSON.stringify({ ...more, ...origin }))).toMatchObject(
      Object.fromEntries(Object.entries(origin).filter(([_, value]) => value !== undefined))
    )
  })

  it.each([
    "",
    "not json",
    "[]",
    "null",
    "{",
    `{"sid":7,"uid":null,"channel":{},"traceparent":[],"request":"5"}`,
    `{"request":-1}`,
    `{"sid":""}`
  ])(
    "tells nothing of an origin that cannot be read: %s",
    (json) => {
      expect(Trigger.decodeOrigin(json)).toEqual({})
    }
  )

  it.each<[Frame.Frames, FromServer]>([
    [["TR", "{}", `{"sid":"s"}`], FromServer.Trigger({ json: "{}", origin: `{"sid":"s"}` })],
    [["TR", "{}", "", `{"sid":"s"}`], FromServer.Trigger({ json: "{}", origin: `{"sid":"s"}` })],
    [["TR", "{}", "a-1"], FromServer.Trigger({ json: "{}", delivery: { id: "a-1", attempt: 1 } })],
    [["TR", "{}", "a-1", ""], FromServer.Trigger({ json: "{}", delivery: { id: "a-1", attempt: 1 } })],
    [["TR", "{}", "a-1", "0"], FromServer.Trigger({ json: "{}", delivery: { id: "a-1", attempt: 1 } })],
    [["TR", "{}", "a-1", "often"], FromServer.Trigger({ json: "{}", delivery: { id: "a-1", attempt: 1 } })],
    [["TR", "{}", "a-1", "2", "later"], FromServer.Trigger({ json: "{}", delivery: { id: "a-1", attempt: 2 } })],
    [
      ["TR", "{}", "a-1", `{"sid":"s"}`],
      FromServer.Trigger({ json: "{}", origin: `{"sid":"s"}`, delivery: { id: "a-1", attempt: 1 } })
    ],
    [
      ["TR", "{}", "a-1", "2", "later", `{"sid":"s"}`],
      FromServer.Trigger({ json: "{}", origin: `{"sid":"s"}`, delivery: { id: "a-1", attempt: 2 } })
    ],
    [["TR", "{}", "", "2"], FromServer.Trigger({ json: "{}" })],
    // What begins like an origin is one: the broker's ids never do.
    [["TR", "{}", `{"sid":"s"}`, "2"], FromServer.Trigger({ json: "{}", origin: `{"sid":"s"}` })],
    [["OK", ""], FromServer.Ok()],
    [["OK", "[]", "more"], FromServer.Response({ json: "[]" })]
  ])("of the broker with an addition is read: %j", (frames, command) => {
    expect(CommandCodec.decodeFromServer(frames)).toEqual(Result.succeed(command))
  })

  it.prop("survives classic TCP", [fromClient(line), fromServer(line)], ([asked, answered]) => {
    expect(CommandCodec.decodeFromClient(carried(CommandCodec.encodeFromClient(asked)))).toEqual(Result.succeed(asked))
    expect(CommandCodec.decodeFromServer(carried(CommandCodec.encodeFromServer(answered)))).toEqual(
      Result.succeed(answered)
    )
  })

  it.each([[["RQ", "x", "{}"]], [["RQ", "x", "{}", ""]], [["RQ", "x", "{}", "[]", "{}"]]])(
    "of a backend without options has none: %j",
    (frames) => {
      expect(CommandCodec.decodeFromClient(frames)).toStrictEqual(
        Result.succeed(FromClient.Request({ event: "x", data: "{}", options: {} }))
      )
    }
  )

  it.prop("of a worker that gets a request has the time that is left in its origin", [
    origin(anyText),
    pick([0, 1, 4999])
  ], (
    [origin, left]
  ) => {
    const written = Trigger.withRequest(Trigger.encodeOrigin(origin), left)
    expect(Trigger.decodeOrigin(written)).toEqual({
      ...Trigger.decodeOrigin(Trigger.encodeOrigin(origin)),
      request: left
    })
    expect(Trigger.decodeOrigin(Trigger.withRequest(undefined, left))).toEqual({ request: left })
  })

  it("gives an event back for no reason where none is said", () => {
    expect(CommandCodec.decodeFromClient(["NK", "a-1"])).toEqual(
      Result.succeed(FromClient.Nack({ delivery: "a-1", reason: "" }))
    )
  })

  it.each([
    ["is not an object", ["BC", "room", "hello", "[1]"], "[1]"],
    ["is not JSON", ["BC", "room", "hello", "not json"], "not json"],
    ["is empty", ["BC", "room", "hello", ""], ""]
  ])("broadcasts where data %s", (_, frames, data) => {
    expect(CommandCodec.decodeFromClient(frames)).toEqual(
      Result.succeed(FromClient.Broadcast({ channel: "room", event: "hello", data }))
    )
  })
})
