/**
 * Reads the messages that a broker sends on a TCP connection. They are parsed where they arrive, in the step of the event loop that
 * reads them. Without a pull at most one more chunk is read.
 */

import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Socket } from "node:net"
import type * as Frame from "../../protocol/Frame.ts"
import * as FrameParser from "../../protocol/FrameParser.ts"
import { ConnectionClosedError, ConnectionError, MalformedMessageError } from "../../protocol/KosmonautError.ts"
import * as Hints from "./hints.ts"

/** Reads the messages of one connection, for one fiber. */
export interface FrameReader {
  /**
   * The next messages, each passed through `of`. Fails once the connection has ended, after all messages that arrived before, with
   * the error passed through `explain`.
   */
  readonly pull: <A>(
    of: (frames: Frame.Frames) => A,
    explain?: (error: ConnectionError) => ConnectionError
  ) => Effect.Effect<Arr.NonEmptyReadonlyArray<A>, ConnectionError>
}

/** Reads from a socket until the scope ends. */
export const make = (options: {
  readonly socket: Socket
  readonly address: string
  readonly maxMessageSize: number
}): Effect.Effect<FrameReader, never, Scope.Scope> => {
  const { address, socket } = options
  const parse = makeParser(options.maxMessageSize)
  let messages: ReadonlyArray<Frame.Frames> = []
  let error: ConnectionError | undefined
  let wake: (() => void) | undefined

  const fail = (reason: ConnectionError["reason"]): void => {
    error ??= new ConnectionError({ reason })
    wake?.()
  }
  const onData = (chunk: Uint8Array): void => {
    if (error !== undefined) return
    const parsed = parse(chunk)
    if (Result.isFailure(parsed)) return fail(new MalformedMessageError({ address, cause: parsed.failure }))
    if (parsed.success.length === 0) return
    messages = messages.length === 0 ? parsed.success : [...messages, ...parsed.success]
    if (wake === undefined) socket.pause()
    else wake()
  }
  const onEnd = () => fail(new ConnectionClosedError({ address, cause: undefined }))
  const onError = (cause: Error) => fail(new ConnectionClosedError({ address, cause }))
  const stop = Effect.sync(() => {
    wake = undefined
  })
  const take = <A>(of: (frames: Frame.Frames) => A, explain: (error: ConnectionError) => ConnectionError) => {
    const taken = messages
    if (!Arr.isReadonlyArrayNonEmpty(taken)) return error && Exit.fail(explain(error))
    messages = []
    return Exit.succeed(Arr.map(taken, of))
  }
  const reader: FrameReader = {
    pull: (of, explain = identity) =>
      Effect.callback((resume) => {
        const taken = take(of, explain)
        if (taken !== undefined) return resume(taken)
        wake = () => {
          wake = undefined
          resume(take(of, explain)!)
        }
        if (socket.isPaused()) socket.resume()
        return stop
      })
  }
  return Effect.as(attach(socket, onData, onEnd, onError), reader)
}

// Until the scope ends, and then as at the end of the connection.
const attach = (
  socket: Socket,
  onData: (chunk: Uint8Array) => void,
  onEnd: () => void,
  onError: (cause: Error) => void
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      socket.on("data", onData).on("end", onEnd).on("close", onEnd).on("error", onError)
      // It may have ended since it was opened.
      if (socket.destroyed) onEnd()
    }),
    () =>
      Effect.sync(() => {
        onEnd()
        socket.off("data", onData).off("end", onEnd).off("close", onEnd).off("error", onError)
      })
  )

// Reads messages. What cannot be read is explained, if the first bytes show what the peer is.
const makeParser = (maxMessageSize: number) => {
  const parser = FrameParser.make(maxMessageSize)
  let isFirst = true
  return (bytes: Uint8Array): Result.Result<ReadonlyArray<Frame.Frames>, Error> => {
    const stranger = isFirst ? Hints.stranger(bytes) : undefined
    isFirst = false
    return stranger === undefined ? parser.push(bytes) : Result.fail(stranger)
  }
}
