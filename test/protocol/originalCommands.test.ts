/** Everything that the original's parties have sent to one another. */
import { describe, expect, it } from "@effect/vitest"
import { Option, Result } from "effect"
import { readFileSync } from "node:fs"
import * as BrokerMessage from "../../src/protocol/BrokerMessage.ts"
import { FromClient, FromServer } from "../../src/protocol/Command.ts"
import * as CommandCodec from "../../src/protocol/CommandCodec.ts"
import * as Frame from "../../src/protocol/Frame.ts"
import * as FrameParser from "../../src/protocol/FrameParser.ts"
import * as Identity from "../../src/protocol/Identity.ts"
import * as Trigger from "../../src/protocol/Trigger.ts"

const failureOf = <E>(result: Result.Result<unknown, E>): E => Result.getOrThrow(Result.flip(result))

const parse = (bytes: Uint8Array) => Result.getOrThrow(FrameParser.make().push(bytes))

describe("Command", () => {
  const recorded = (
    name: string
  ): ReadonlyArray<{ readonly connection: number; readonly from: string; readonly bytes?: string }> =>
    readFileSync(new URL(`../fixtures/${name}.jsonl`, import.meta.url), "utf8").trim().split("\n").map((line) =>
      JSON.parse(line)
    )

  const bytesFrom = (name: string, who: string): ReadonlyArray<Uint8Array> =>
    recorded(name).flatMap(({ bytes, from }) =>
      from === who && bytes !== undefined ? [new Uint8Array(Buffer.from(bytes, "latin1"))] : []
    )

  const { AccessToken, Broadcast, CloseChannel, OpenChannel } = FromClient

  /** What the original client asked in each connection, and whether it is a bad request. */
  const requests: ReadonlyArray<readonly [command: FromClient, isBad?: "bad"]> = [
    [OpenChannel({ channel: "room2" })],
    [OpenChannel({ channel: "room2" })],
    [OpenChannel({ channel: "presence-room" })],
    [OpenChannel({ channel: "%%%" })],
    [Broadcast({ channel: "room2", event: "hello", data: `{"what":"world"}` })],
    [Broadcast({ channel: "room2", event: "hello", data: `{"text":"zażółć 🚀\\nline"}` })],
    [Broadcast({ channel: "nope", event: "hello", data: "{}" })],
    [Broadcast({ channel: "room2", event: "", data: "{}" }), "bad"],
    [AccessToken({ uid: "joe", pattern: ".*" })],
    [AccessToken({ uid: "joe", pattern: "..*{34}" })],
    [AccessToken({ uid: "", pattern: ".*" }), "bad"],
    [CloseChannel({ channel: "room2" })],
    [CloseChannel({ channel: "room2" })],
    [OpenChannel({ channel: "x" })]
  ]

  it("reads and writes every request of the original client", () => {
    const sent = bytesFrom("original-client-exchange", "client")
    expect(sent).toHaveLength(requests.length)
    for (const [index, [command, isBad]] of requests.entries()) {
      const [[identity, delimiter, ...frames], ...more] = parse(sent[index])
      expect(more).toEqual([])
      expect(delimiter).toBe("")
      const who = Option.getOrThrow(Identity.decode(identity))
      expect([who.kind, who.vhost]).toEqual(["req", "/test"])
      if (isBad) expect(failureOf(CommandCodec.decodeFromClient(frames)).code).toBe(400)
      else expect(CommandCodec.decodeFromClient(frames)).toEqual(Result.succeed(command))
      expect(Frame.encode([Identity.encode(who), "", ...CommandCodec.encodeFromClient(command)])).toEqual(sent[index])
    }
  })

  it("reads every answer of the original broker", () => {
    const { AccessTokenIssued, Failure, Ok } = FromServer
    const token = "888c8a82e8d88ede2c6bd16435a54dd0a35942b151d9475ffdb7431bc26ae063" +
      "60b78c55d47462f60509d9ddff5edb54f9daa45c6909713fbaf42809df56a58a"
    const answers: ReadonlyArray<FromServer> = [
      Ok(),
      Ok(),
      Ok(),
      Failure({ code: 451 }),
      Ok(),
      Ok(),
      Failure({ code: 454 }),
      Failure({ code: 400 }),
      AccessTokenIssued({ token }),
      Failure({ code: 597 }),
      Failure({ code: 400 }),
      Ok(),
      Failure({ code: 454 }),
      Failure({ code: 402 })
    ]
    const sent = bytesFrom("original-client-exchange", "server")
    expect(sent.map((bytes) => parse(bytes).map(CommandCodec.decodeFromServer))).toEqual(
      answers.map((answer) => [Result.succeed(answer)])
    )
    // One without arguments carries an empty frame, which is the transport's.
    expect(
      answers.map(CommandCodec.encodeFromServer).map((frames) =>
        Frame.encode(frames.length > 1 ? frames : [...frames, ""])
      )
    )
      .toEqual(sent)
  })

  it("reads and writes everything the original worker says", () => {
    const { Heartbeat, Quit, Ready } = FromClient
    const sent = bytesFrom("original-worker-exchange", "client").map((bytes) => ({ bytes, messages: parse(bytes) }))
    const said = sent.map(({ bytes, messages }) => {
      const commands = messages.map((frames) => {
        const who = frames[1] === "" ? Identity.decode(frames[0]) : Option.none()
        const command = Result.getOrThrow(CommandCodec.decodeFromClient(frames.slice(Option.isSome(who) ? 2 : 0)))
        const envelope = Option.match(who, { onNone: () => [], onSome: (who) => [Identity.encode(who), ""] })
        expect(Option.match(who, { onNone: () => "none", onSome: ({ kind, vhost }) => `${kind} ${vhost}` })).toBe(
          command._tag === "Ready" ? "dlr /test" : "none"
        )
        return { command, frames: [...envelope, ...CommandCodec.encodeFromClient(command)] }
      })
      expect(Buffer.concat(commands.map(({ frames }) => Frame.encode(frames)))).toEqual(Buffer.from(bytes))
      return commands.map(({ command }) => command)
    })
    expect(said).toEqual([[Ready({})], [Heartbeat()], [Ready({})], [Ready({}), Quit()]])
  })

  it("reads everything the original broker says to a worker", () => {
    const sid = "a5f8c42e-8f30-4580-5feb-b65f1d159254"
    const heard = bytesFrom("original-worker-exchange", "server").flatMap(parse).map((frames) =>
      Result.getOrThrow(CommandCodec.decodeFromServer(frames))
    )
    expect(heard.map(({ _tag }) => _tag)).toEqual([
      "Heartbeat",
      "Trigger",
      "Heartbeat",
      "Trigger",
      "Trigger",
      "Heartbeat",
      "Heartbeat"
    ])
    const events = heard.flatMap((command) =>
      command._tag === "Trigger" ? [Result.getOrThrow(Trigger.decodeEvent(command.json))] : []
    )
    expect(events).toEqual([
      { event: "chat/save", data: { n: 1, sid } },
      { event: "chat/save", data: { sid } },
      { event: "chat/wave", data: { at: "Joe", channel: "presence-room", sid } }
    ])
    expect(JSON.parse(BrokerMessage.triggered("chat/wave", { at: "Joe" }, sid, "presence-room"))).toEqual({
      "chat/wave": events[2].data
    })
  })
})
