/**
 * Sends requests and reads their responses, with a span, metrics, and the errors of status codes.
 */

import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Record from "effect/Record"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Tracer from "effect/Tracer"
import { descriptions, type FromClient, FromServer } from "../../protocol/Command.ts"
import { decodeFromServer, encodeFromClient } from "../../protocol/CommandCodec.ts"
import type { Endpoint } from "../../protocol/Endpoint.ts"
import * as Frame from "../../protocol/Frame.ts"
import * as Json from "../../protocol/Json.ts"
import {
  type ConnectionError,
  MessageDecodeError,
  ProtocolError,
  type RequestTimeoutError,
  type UnauthorizedError
} from "../../protocol/KosmonautError.ts"
import * as Response from "../../protocol/Response.ts"
import * as Trace from "../../protocol/Trace.ts"
import * as ClientMetrics from "../ClientMetrics.ts"
import type { Pending, ResponseHandler } from "./pendingRequests.ts"
import { keyOf, type Pipeline, type SendError, type Unanswered } from "./pipeline.ts"
import type { Retrier } from "./retry.ts"
import { statusError } from "./target.ts"

/** What can happen to every request. */
type RequestError = UnauthorizedError | ConnectionError | RequestTimeoutError | ProtocolError

/** The broker's response to a request that failed. */
export type Failed = Extract<FromServer, { readonly _tag: "Failure" }>

/** Turns the statuses that mean something to a request into its errors; the others are the same for all. */
type Expected<Command, E> = (failed: Failed, command: Command) => E | undefined

/** Sends requests to a broker. */
export interface Requests {
  /** Makes a request once there is room for it, so that what waits is not encoded yet. `command` is one without data. */
  readonly inRoom: <A, E>(
    command: FromClient,
    make: (fiber: Fiber.Fiber<unknown, unknown>) => Effect.Effect<A, E>
  ) => Effect.Effect<A, E | RequestTimeoutError>
  /** Sends a request whose response is `OK`. */
  readonly execute: <Command extends FromClient, E = never>(
    command: Command,
    expected?: Expected<Command, E>
  ) => Effect.Effect<void, E | RequestError>
  /** The same in a known fiber, which must run it immediately. */
  readonly executeIn: <Command extends FromClient, E = never>(
    fiber: Fiber.Fiber<unknown, unknown>,
    command: Command,
    expected?: Expected<Command, E>
  ) => Effect.Effect<void, E | RequestError>
  /** Sends a request whose response has this tag. */
  readonly responseTo: <Command extends FromClient, Tag extends FromServer["_tag"], E = never>(
    command: Command,
    tag: Tag,
    expected?: Expected<Command, E>
  ) => Effect.Effect<Extract<FromServer, { _tag: Tag }>, E | RequestError>
  /** Sends a request whose response is JSON, by the command's Schema. */
  readonly query: <Command extends Query, E = never>(
    command: Command,
    expected?: Expected<Command, E>
  ) => Effect.Effect<Response.To<Command["_tag"]>, E | RequestError>
}

/** A command whose response is JSON. */
type Query = Extract<FromClient, { readonly _tag: keyof typeof Response.schemas }>

/** A request, its fiber, and how to read its response. */
interface Request<A, E> {
  readonly fiber: Fiber.Fiber<unknown, unknown>
  readonly command: FromClient
  readonly read: (response: FromServer) => Effect.Effect<A, E>
  /** The result of a bare `OK`, for requests that expect it. */
  readonly done: Effect.Effect<A> | undefined
}

const readResponse = <A, E>({ read }: Request<A, E>, frames: Frame.Frames): Effect.Effect<A, E | ProtocolError> => {
  const response = decodeFromServer(frames)
  return Result.isSuccess(response)
    ? read(response.success)
    : Effect.fail(new ProtocolError({ reason: response.failure }))
}

// How requests are sent that are not one step: traced, without a connection, or retried.
const makeSlow = (endpoint: Endpoint, pipeline: Pipeline, retry: Retrier) => {
  const traced = <A, E>(request: Request<A, E>): Effect.Effect<A, E | RequestError> => {
    const { command } = request
    const response = Trace.span(
      `Client.${descriptions[command._tag].name}`,
      () => spanOptions(command, endpoint),
      (span) => {
        const frames = encodeFromClient(command, span && Trace.toTraceparent(span))
        return Effect.mapError(
          Effect.catch(pipeline.request(frames), (failed) => retry({ command, frames, span }, failed)),
          toProtocolError
        )
      }
    )
    return Effect.flatMap(response, (frames) => readResponse(request, frames))
  }
  const untraced = <A, E>(request: Request<A, E>, frames: Frame.Frames): Effect.Effect<A, E | RequestError> =>
    Effect.matchCauseEffect(pipeline.request(frames), {
      onFailure: (cause) => retried(request, frames, cause),
      onSuccess: (response) => readResponse(request, response)
    })
  // A defect stays one.
  const retried = <A, E>(
    request: Request<A, E>,
    frames: Frame.Frames,
    cause: Cause.Cause<Unanswered>
  ): Effect.Effect<A, E | RequestError> => {
    const failed = Cause.findError(cause)
    if (Result.isFailure(failed)) return Effect.failCause(failed.failure)
    return Effect.flatMap(
      Effect.mapError(
        retry({ command: request.command, frames, span: undefined }, failed.success),
        toProtocolError
      ),
      (response) => readResponse(request, response)
    )
  }
  return { traced, untraced, retried }
}

const makeExchange = (endpoint: Endpoint, pipeline: Pipeline, retry: Retrier) => {
  const slow = makeSlow(endpoint, pipeline, retry)

  // The hot path of every Client: if nothing is traced and a connection is open, a request is one step of its fiber, and so is
  // the response.
  const exchange = <A, E>(request: Request<A, E>): Effect.Effect<A, E | RequestError> => {
    if (pipeline.isFull()) {
      return Effect.andThen(waitForRoom(pipeline, request), Effect.suspend(() => exchange(request)))
    }
    const started = now(request.fiber)
    if (Trace.isTraced(request.fiber)) return measured(request, started, slow.traced(request))
    return Effect.callback((resume) => {
      const sent = new Sent(request, started, encodeFromClient(request.command), slow.retried, resume)
      const pending = pipeline.requestUnsafe(sent.frames, sent)
      if (pending === undefined) return resume(measured(request, started, slow.untraced(request, sent.frames)))
      return Effect.sync(() => {
        pipeline.cancelUnsafe(pending)
        count(request, started, "interrupted")
      })
    })
  }
  return exchange
}

// A request in flight, as one object.
class Sent<A, E> implements ResponseHandler {
  readonly request: Request<A, E>
  readonly started: bigint
  readonly frames: Frame.Frames
  readonly retried: ReturnType<typeof makeSlow>["retried"]
  readonly resume: (effect: Effect.Effect<A, E | RequestError>) => void

  constructor(
    request: Request<A, E>,
    started: bigint,
    frames: Frame.Frames,
    retried: ReturnType<typeof makeSlow>["retried"],
    resume: (effect: Effect.Effect<A, E | RequestError>) => void
  ) {
    this.request = request
    this.started = started
    this.frames = frames
    this.retried = retried
    this.resume = resume
  }

  onResponse(response: Frame.Frames): void {
    const { request, started } = this
    if (request.done === undefined || response[0] !== "OK" || response[1]) {
      return this.resume(measured(request, started, readResponse(request, response)))
    }
    count(request, started, "ok")
    this.resume(request.done)
  }

  onFailure(cause: Cause.Cause<SendError>, failed: Pending): void {
    const unanswered = Cause.map(cause, (error): Unanswered => ({ error, key: keyOf(failed) }))
    this.resume(measured(this.request, this.started, this.retried(this.request, this.frames, unanswered)))
  }
}

const waitForRoom = (pipeline: Pipeline, request: Pick<Request<never, never>, "command" | "fiber">) => {
  const started = now(request.fiber)
  return Effect.onExit(pipeline.waitForRoom(encodeFromClient(request.command)[0]!), (exit) => {
    if (Exit.isFailure(exit)) count(request, started, outcomeOf(exit))
    return Effect.void
  })
}

// The error of a response that is not the expected one.
const makeRefused = (endpoint: Endpoint, pipeline: Pipeline) => {
  // The original reads at most about 4000 bytes of a message, and takes the rest for another one.
  const explained = (response: Failed, command: FromClient): Failed => {
    if (response.code !== 402 || endpoint.scheme !== "wr+tcp" || pipeline.isKosmonaut()) return response
    const size = sizeOf(encodeFromClient(command))
    return size < largeForTheOriginal ? response : { ...response, reason: tooLargeForTheOriginal(size, endpoint) }
  }
  return <Command extends FromClient, E>(
    command: Command,
    response: FromServer,
    expected: Expected<Command, E> | undefined
  ): Effect.Effect<never, E | UnauthorizedError | ProtocolError> => {
    if (response._tag !== "Failure") {
      const detail = `the broker answered ${command._tag} with ${response._tag}`
      return Effect.fail(new ProtocolError({ reason: new MessageDecodeError({ detail }) }))
    }
    const own = expected?.(response, command)
    return Effect.fail(
      own ?? toProtocolError(statusError(explained(response, command), describe(command), endpoint))
    )
  }
}

/** Sends requests on this pipeline. */
export const make = (endpoint: Endpoint, pipeline: Pipeline, retry: Retrier): Requests => {
  const exchange = makeExchange(endpoint, pipeline, retry)

  const refused = makeRefused(endpoint, pipeline)

  const executeIn: Requests["executeIn"] = (fiber, command, expected) =>
    exchange({
      fiber,
      command,
      read: (response) => response._tag === "Ok" ? Effect.void : refused(command, response, expected),
      done: Effect.void
    })

  const inRoom: Requests["inRoom"] = (command, make) =>
    Effect.withFiber((fiber) =>
      pipeline.isFull()
        ? Effect.andThen(waitForRoom(pipeline, { command, fiber }), inRoom(command, make))
        : make(fiber)
    )

  return {
    inRoom,
    execute: (command, expected) => Effect.withFiber((fiber) => executeIn(fiber, command, expected)),
    executeIn,
    responseTo: (command, tag, expected) =>
      Effect.withFiber((fiber) =>
        exchange({
          fiber,
          command,
          read: (response) =>
            FromServer.$is(tag)(response) ? Effect.succeed(response) : refused(command, response, expected),
          done: undefined
        })
      ),
    query: (command, expected) => {
      const decode = decoderOf(command)
      const read = (response: FromServer) =>
        response._tag !== "Response" ? refused(command, response, expected) : Effect.fromResult(
          Result.mapError(
            Result.flatMap(Json.parse(response.json, Response.maxDepth), decode),
            (cause) =>
              new ProtocolError({
                reason: new MessageDecodeError({
                  detail: `the broker answered ${command._tag} in an unknown way`,
                  cause
                })
              })
          )
        )
      return Effect.withFiber((fiber) => exchange({ fiber, command, read, done: undefined }))
    }
  }
}

// The compiler cannot see that the decoder of a tag is that of its Schema.
const decoderOf = <Command extends Query>({ _tag }: Command) =>
  decoders[_tag] as (response: unknown) => Result.Result<Response.To<Command["_tag"]>, Schema.SchemaError>
const decoders = Record.map(
  Response.schemas,
  (schema: Schema.ConstraintDecoder<unknown>) => Schema.decodeUnknownResult(schema)
)

/** An error that a request may fail with; those that few handle one by one are reasons of a `ProtocolError`. */
export const toProtocolError = <E extends Reason | UnauthorizedError | ConnectionError | RequestTimeoutError>(
  error: E
): ProtocolError | Exclude<E, Reason> =>
  error._tag === "UnauthorizedError" || error._tag === "ConnectionError" || error._tag === "RequestTimeoutError"
    ? error as Exclude<E, Reason>
    : new ProtocolError({ reason: error as Reason })

type Reason = ProtocolError["reason"]

const causeOf = (error: RequestError) => error._tag === "ProtocolError" ? error.reason : error

// Where a person could wonder what was wrong, the argument too.
const describe = (command: FromClient): string => {
  switch (command._tag) {
    case "AccessToken":
      return `a token for ${JSON.stringify(command.uid.slice(0, 100))} and the pattern ${
        JSON.stringify(command.pattern.slice(0, 100))
      }. A pattern has RE2 syntax`
    case "AccessTokenWith":
      return `a token for ${
        JSON.stringify(command.grant.uid.slice(0, 100))
      } with subscribe, info or expiresIn: it may not know ` +
        "this command, as the original does not"
    case "OpenChannel":
    case "CloseChannel":
      return command._tag
    default:
      return isAddition(command)
        ? `${command._tag}: it may not know this command, as the original does not`
        : command._tag
  }
}

const largeForTheOriginal = 3500

const tooLargeForTheOriginal = (size: number, { address, vhost }: Endpoint): string =>
  `the access token does not open ${vhost} at ${address}, or the message of ${size} bytes is too large: the original ` +
  `broker refuses messages of about 4000 bytes and more in this way`

const sizeOf = (frames: Frame.Frames): number => frames.reduce((size, frame) => size + Frame.byteLength(frame) + 1, 0)

const isAddition = (command: FromClient): boolean => command._tag !== "Broadcast" || command.exceptSid !== undefined

const producers: ReadonlySet<FromClient["_tag"]> = new Set([
  "Broadcast",
  "BroadcastAll",
  "SendTo",
  "SendToUser",
  "Trigger"
])

// (Source: OpenTelemetry's semantic conventions for messaging.)
const spanOptions = (command: FromClient, endpoint: Endpoint): Tracer.SpanOptionsNoTrace => ({
  kind: producers.has(command._tag) ? "producer" : "client",
  attributes: {
    "messaging.system": "kosmonaut",
    "messaging.operation.type": "send",
    "messaging.operation.name": descriptions[command._tag].name,
    "server.address": endpoint.host,
    "server.port": endpoint.port,
    "kosmonaut.vhost": endpoint.vhost,
    ..."channel" in command && { "messaging.destination.name": command.channel },
    ..."event" in command && { "kosmonaut.event": command.event }
  }
})

const now = (fiber: Fiber.Fiber<unknown, unknown>): bigint => fiber.getRef(Clock.Clock).monotonicTimeNanosUnsafe()

const count = (
  { command, fiber }: Pick<Request<never, never>, "command" | "fiber">,
  started: bigint,
  outcome: string
): void => {
  const name = descriptions[command._tag].name
  const { context } = fiber
  ClientMetrics.requestsBy(name, outcome).updateUnsafe(1, context)
  ClientMetrics.requestSecondsBy(name).updateUnsafe(Number(now(fiber) - started) / 1e9, context)
}

const measured = <A, E>(
  request: Request<A, E>,
  started: bigint,
  effect: Effect.Effect<A, E | RequestError>
): Effect.Effect<A, E | RequestError> =>
  Effect.onExit(effect, (exit) => {
    count(request, started, outcomeOf(exit))
    return Effect.void
  })

const outcomeOf = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.match(exit, {
    onSuccess: () => "ok",
    onFailure: ({ reasons: [reason] }) =>
      reason?._tag === "Fail"
        ? causeOf(reason.error as RequestError)._tag
        : reason?._tag === "Interrupt"
        ? "interrupted"
        : "defect"
  })
