/**
 * ZeroMQ by hand: the bytes of a handshake on a bare TCP connection.
 */
import { Effect, Queue } from "effect"
import * as Zmtp from "../../src/transport/internal/zmtp.ts"
import * as RawTcp from "./RawTcp.ts"

/** Connects and shakes hands. */
export const connect = Effect.fnUntraced(function*(port: number, identity: string, socketType = "DEALER") {
  const connection = yield* RawTcp.connect(port)
  const parts = yield* Queue.unbounded<Zmtp.Part>()
  const parser = Zmtp.makeParser(100_000_000)
  connection.socket.removeAllListeners("data").setEncoding("latin1")
  connection.socket.on("data", (chunk) => {
    parser.feed(Buffer.from(String(chunk), "latin1"))
    for (let part = parser.next(); part !== undefined; part = parser.next()) Queue.offerUnsafe(parts, part)
  })
  yield* connection.send(Zmtp.greeting)
  yield* connection.send(
    Zmtp.encodeCommand("READY", Zmtp.encodeProperties({ "Socket-Type": socketType, "Identity": identity }))
  )
  const frames = (part: Zmtp.Part) =>
    part._tag === "Message" ? part.frames.map(String) : part._tag === "Command" ? [`<${part.name}>`] : []
  return {
    ...connection,
    message: (...message: ReadonlyArray<string | Uint8Array>) => {
      const buffer = Buffer.alloc(Zmtp.sizeOf(message))
      Zmtp.write(buffer, 0, message)
      return connection.send(buffer)
    },
    /** The next part, as text frame by frame; a command as its name. */
    nextPart: Effect.map(Queue.take(parts), frames)
  }
})
