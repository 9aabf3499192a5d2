/**
 * Runs the state machine of a connection: it gives it what happens, one input at a time, and does what the outputs say, by
 * Effect's clock and randomness.
 *
 * A WebSocket's callbacks are steps of the machine, without a fiber. A defect in a step ends the connection and is given to
 * `onDefect`, once.
 */

import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FiberHandle from "effect/FiberHandle"
import { identity } from "effect/Function"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import type { Input } from "../input.ts"
import * as Machine from "../machine.ts"
import type * as Options from "../options.ts"
import type { Output } from "../output.ts"
import * as Hints from "./hints.ts"
import * as WebSocket from "./webSocket.ts"

/** An output that is for the user. */
export type Notice = Exclude<Output, { readonly _tag: DriverTag }>

type DriverTag = "Connect" | "Disconnect" | "Send" | "Flush" | "SetTimer" | "ClearTimer" | "FetchToken"

/** A connection that is kept up. */
export interface Driver {
  readonly machine: Machine.Machine
  readonly giveUnsafe: (input: Input) => void
  /** The time of the machine, in milliseconds. */
  readonly nowUnsafe: () => number
}

/** A single access token, a stateless one, or none because nobody is logged in. */
export type Token = string | Redacted.Redacted | { readonly jwt: string | Redacted.Redacted } | undefined

/** What a driver needs. */
export interface Config<R> {
  readonly url: string
  readonly options: Options.Options
  readonly token: Effect.Effect<Token, unknown, R>
  /** Called for every output that is for the user, in order; `bytes` is what each event of the message takes. */
  readonly onNotice: (notice: Notice, bytes: number) => void
  readonly onDefect: (cause: Cause.Cause<never>) => void
}

/** Makes a driver that does not connect yet. At the end of the scope the connection is closed. */
export const make = Effect.fnUntraced(function*<R>(
  { onDefect, onNotice, options, token, url }: Config<R>
): Effect.fn.Return<Driver, never, R | Scope.Scope | Socket.WebSocketConstructor> {
  const construct = yield* Socket.WebSocketConstructor
  const clock = yield* Clock.Clock
  const nextRandom = yield* Effect.map(Random.Random, (random) => () => random.nextDoubleUnsafe())
  const runTimer = yield* FiberHandle.makeRuntime<never>()
  const runFetch = yield* FiberHandle.makeRuntime<R>()
  const machine = Machine.make(options)
  const nowUnsafe = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  let socket: WebSocket.Connection | undefined
  // What an event of the current message takes.
  let bytes = 0

  const closed = (connection: number, code: number, reason: string) =>
    giveUnsafe({ _tag: "Closed", connection, code, reason })
  const connect = (connection: number) => {
    const opened = WebSocket.open(construct, url, {
      onMessage: (text) => {
        const message = parse(text)
        bytes = sizeOf(text, message)
        giveUnsafe({ _tag: "Message", connection, message })
      },
      onClosed: (code, reason) => closed(connection, code, reason)
    })
    socket = Result.getOrUndefined(opened)
    if (Result.isFailure(opened)) closed(connection, 1006, textOf(opened.failure))
  }
  // A timer may be early by a part of a millisecond.
  const timer = (at: number): Effect.Effect<void> =>
    Effect.suspend(() => {
      const left = at - nowUnsafe()
      if (left > 0) return Effect.andThen(Effect.sleep(Math.ceil(left)), timer(at))
      giveUnsafe({ _tag: "Timer" })
      return Effect.void
    })
  const perform = (output: Output) => {
    switch (output._tag) {
      case "Connect":
        return connect(output.connection)
      case "Disconnect":
        socket?.closeUnsafe(output.code)
        return void (socket = undefined)
      case "Send":
        return socket?.sendUnsafe(output.text)
      case "Flush":
        return queueMicrotask(() => giveUnsafe({ _tag: "Flush" }))
      case "SetTimer":
      case "ClearTimer":
        // What runs next ends what has run.
        return void runTimer("at" in output ? timer(output.at) : Effect.void)
      case "FetchToken":
        return void runFetch(Effect.map(fetched(token, output.fetch), giveUnsafe))
      default:
        return onNotice(output, bytes)
    }
  }
  const giveUnsafe = oneByOne<Input>(
    (input) => {
      for (const output of Machine.step(machine, input, nowUnsafe(), nextRandom)) perform(output)
    },
    (defect) => {
      socket?.closeUnsafe(1000)
      runTimer(Effect.void)
      onDefect(Cause.die(defect))
    }
  )

  yield* Effect.addFinalizer(() => Effect.sync(() => giveUnsafe({ _tag: "Close" })))
  yield* Hints.listen((hint) => giveUnsafe({ _tag: "Hint", hint }))
  return { machine, giveUnsafe, nowUnsafe }
})

// What comes while one is handled is handled after it. After a defect nothing is.
const oneByOne = <A>(handle: (value: A) => void, onDefect: (defect: unknown) => void) => {
  const values: Array<A> = []
  let isHandling = false
  let isBroken = false
  const handleAll = () => {
    for (let value = values.shift(); value !== undefined; value = values.shift()) handle(value)
  }
  return (value: A): void => {
    if (isBroken) return
    values.push(value)
    if (isHandling) return
    isHandling = true
    const handled = Result.try({ try: handleAll, catch: identity })
    isHandling = false
    if (Result.isSuccess(handled)) return
    isBroken = true
    onDefect(handled.failure)
  }
}

// An interruption ends the driver, or another fetch has begun.
const fetched = <R>(token: Effect.Effect<Token, unknown, R>, fetch: number): Effect.Effect<Input, never, R> =>
  Effect.matchCauseEffect(token, {
    onSuccess: (token) =>
      Effect.succeed<Input>({
        _tag: "TokenFetched",
        fetch,
        token: typeof token === "object" && "jwt" in token ? { jwt: textOfToken(token.jwt) } : textOfToken(token)
      }),
    onFailure: (cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.interrupt
        : Effect.succeed<Input>({ _tag: "TokenFailed", fetch, message: textOf(Cause.squash(cause)) })
  })

const textOfToken = <Text extends string | undefined>(token: Text | Redacted.Redacted): Text | string =>
  Redacted.isRedacted(token) ? Redacted.value(token) : token

const parse = (text: string | undefined): unknown =>
  text === undefined ? undefined : Result.getOrUndefined(Result.try((): unknown => JSON.parse(text)))

// Of the messages of a batch each takes its part.
const sizeOf = (text: string = "", message: unknown): number =>
  256 + 2 * text.length / (Array.isArray(message) ? Math.max(1, message.length) : 1)

const textOf = (error: unknown): string => {
  const text = error instanceof Error ? error.message || error.name : typeof error === "string" ? error : ""
  return text === "" ? "the reason is unknown" : text.slice(0, 500)
}
