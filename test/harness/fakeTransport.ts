/**
 * Transports under the test's control: connections that are played, and real ones that are listened in on or changed.
 */
import { Effect, Queue, type Scope } from "effect"
import type { Frames } from "../../src/protocol/Frame.ts"
import type { ConnectionError } from "../../src/protocol/KosmonautError.ts"
import { type Connection, type Message, Transport } from "../../src/transport/Transport.ts"

type Service = Transport["Service"]

/** A connection of which the test plays the broker. It accepts all messages at once. */
export const connection = Effect.map(
  Queue.unbounded<Message, ConnectionError>(),
  (incoming) => {
    const sent: Array<Message> = []
    const played: Connection = {
      id: "c",
      pipelines: true,
      isKosmonaut: () => true,
      batches: () => true,
      enough: 1,
      pull: Queue.takeAll(incoming),
      sendUnsafe: (messages, settled) => {
        sent.push(...messages.map(({ envelope, frames }) => ({ envelope, frames })))
        settled()
      }
    }
    return {
      connection: played,
      sent,
      respond: (envelope: string, frames: Frames) => Queue.offerUnsafe(incoming, { envelope, frames }),
      fail: (error: ConnectionError) => Queue.fail(incoming, error)
    }
  }
)

/** A transport with these connections. */
export const make = (connect: Service["connect"]): Service =>
  Transport.of({ schemes: ["wr"], maxMessageSize: 1_048_576, maxConnections: 64, connect })

/** A transport whose broker responds like this. */
export const respondWith = (respond: (frames: Frames) => Frames): Service =>
  make(() =>
    Effect.map(connection, (fake) => ({
      ...fake.connection,
      sendUnsafe: (messages, settled) => {
        settled()
        for (const { envelope, frames } of messages) fake.respond(envelope, respond(frames))
      }
    }))
  )

/** A transport whose connections are changed. */
export const mapConnections = (
  transport: Service,
  change: (connection: Connection) => Connection | Effect.Effect<Connection, never, Scope.Scope>
): Service =>
  Transport.of({
    ...transport,
    connect: (endpoint, options) =>
      Effect.flatMap(transport.connect(endpoint, options), (connection) => {
        const changed = change(connection)
        return Effect.isEffect(changed) ? changed : Effect.succeed(changed)
      })
  })

/** A transport that sends other frames than it is given. */
export const mapSent = (transport: Service, change: (frames: Frames) => Frames): Service =>
  mapConnections(transport, (connection) => ({
    ...connection,
    sendUnsafe: ([first, ...others], settled) =>
      connection.sendUnsafe([
        { ...first, frames: change(first.frames) },
        ...others.map((message) => ({ ...message, frames: change(message.frames) }))
      ], settled)
  }))
