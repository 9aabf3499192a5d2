/**
 * One request and its answer: with its span, its metrics, and the errors that its statuses mean.
 */

import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Tracer from "effect/Tracer"
import * as Answer from "../../protocol/Answer.ts"
import { decodeFromServer, encodeFromClient, type FromClient, FromServer, nameOf } from "../../protocol/Command.ts"
import type { Endpoint } from "../../protocol/Endpoint.ts"
import * as Json from "../../protocol/Json.ts"
import {
  type ConnectionError,
  MessageDecodeError,
  type MessageEncodeError,
  type RequestTimeoutError
} from "../../protocol/KosmonautError.ts"
import * as MetricFamily from "../../protocol/MetricFamily.ts"
import * as Trace from "../../protocol/Trace.ts"
import type { Requester } from "../../transport/Transport.ts"
import * as ClientMetrics from "../ClientMetrics.ts"
import { type AnswerError, statusError } from "./target.ts"

/** What can happen to every request. */
type AskError = AnswerError | ConnectionError | RequestTimeoutError | MessageEncodeError | MessageDecodeError

/** Turns the statuses that mean something to a request into its errors; the others are the same for all. */
type Expected<E> = (code: number) => E | undefined

/** Asks a broker. */
export interface Asking {
  /** Asks for something that is answered with `OK`. */
  readonly tell: <E = never>(command: FromClient, expected?: Expected<E>) => Effect.Effect<void, E | AskError>
  /** Asks for something that is answered with this kind of answer. */
  readonly ask: <Tag extends FromServer["_tag"], E = never>(
    command: FromClient,
    tag: Tag,
    expected?: Expected<E>
  ) => Effect.Effect<Extract<FromServer, { _tag: Tag }>, E | AskError>
  /** Asks for something that is answered with JSON of this shape. */
  readonly query: <A, I, E = never>(
    command: FromClient,
    shape: Schema.Codec<A, I>,
    expected?: Expected<E>
  ) => Effect.Effect<A, E | AskError>
}

/** Asks by this requester. */
export const make = (endpoint: Endpoint, requester: Requester): Asking => {
  // One fiber makes one step of all this where nobody traces: it is the hot path of every Client.
  const exchange = <A, E>(command: FromClient, read: (answer: FromServer) => Effect.Effect<A, E>) =>
    measured(command, (fiber) =>
      Effect.flatMap(
        Trace.isTraced(fiber)
          ? Trace.span(`Client.${nameOf(command)}`, () =>
            spanOptions(command, endpoint), (span) =>
            requester.request(encodeFromClient(command, span && Trace.toTraceparent(span))))
          : requester.request(encodeFromClient(command)),
        (frames): Effect.Effect<A, E | MessageDecodeError> => {
          const answer = decodeFromServer(frames)
          return Result.isSuccess(answer) ? read(answer.success) : Effect.fail(answer.failure)
        }
      ))

  const refused = <E>(
    command: FromClient,
    answer: FromServer,
    expected: Expected<E> | undefined
  ): Effect.Effect<never, E | AnswerError | MessageDecodeError> =>
    Effect.fail(
      answer._tag === "Failure"
        ? expected?.(answer.code) ?? statusError(answer.code, describe(command), endpoint)
        : new MessageDecodeError({ detail: `the broker answered ${command._tag} with ${answer._tag}` })
    )

  return {
    tell: (command, expected) =>
      exchange(command, (answer) => answer._tag === "Ok" ? Effect.void : refused(command, answer, expected)),
    ask: (command, tag, expected) =>
      exchange(
        command,
        (answer) => FromServer.$is(tag)(answer) ? Effect.succeed(answer) : refused(command, answer, expected)
      ),
    query: (command, shape, expected) => {
      const decode = Schema.decodeUnknownResult(shape)
      return exchange(
        command,
        (answer) =>
          answer._tag !== "Answer" ? refused(command, answer, expected) : Effect.fromResult(
            Result.mapError(
              Result.flatMap(Json.parse(answer.json, Answer.maxDepth), decode),
              (cause) =>
                new MessageDecodeError({ detail: `the broker answered ${command._tag} in an unknown way`, cause })
            )
          )
      )
    }
  }
}

// Where a person could wonder what was wrong, the argument too.
const describe = (command: FromClient): string => {
  switch (command._tag) {
    case "AccessToken":
      return `a token for ${JSON.stringify(command.uid.slice(0, 100))} and the pattern ${
        JSON.stringify(command.pattern.slice(0, 100))
      }; is the pattern RE2 syntax, and has neither more than 1000 characters?`
    case "OpenChannel":
    case "CloseChannel":
      return command._tag
    default:
      return isAddition(command)
        ? `${command._tag}: it may not know this command, as the original does not`
        : command._tag
  }
}

const isAddition = (command: FromClient): boolean => command._tag !== "Broadcast" || command.exceptSid !== undefined

const requestsBy = MetricFamily.make(ClientMetrics.requests, "command", "outcome")
const secondsBy = MetricFamily.make(ClientMetrics.requestSeconds, "command")

// (Source: OpenTelemetry's semantic conventions for messaging.)
const spanOptions = (command: FromClient, endpoint: Endpoint): Tracer.SpanOptionsNoTrace => ({
  kind: command._tag === "Broadcast" || command._tag === "BroadcastAll" || command._tag === "SendTo"
    ? "producer"
    : "client",
  attributes: {
    "messaging.system": "kosmonaut",
    "messaging.operation.type": "send",
    "messaging.operation.name": nameOf(command),
    "server.address": endpoint.host,
    "server.port": endpoint.port,
    "kosmonaut.vhost": endpoint.vhost,
    ..."channel" in command && { "messaging.destination.name": command.channel },
    ..."event" in command && { "kosmonaut.event": command.event }
  }
})

const measured = <A, E>(
  command: FromClient,
  request: (fiber: Fiber.Fiber<unknown, unknown>) => Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Effect.withFiber((fiber) => {
    const clock = fiber.getRef(Clock.Clock)
    const started = clock.currentTimeNanosUnsafe()
    return Effect.onExit(request(fiber), (exit) => {
      const seconds = Number(clock.currentTimeNanosUnsafe() - started) / 1e9
      requestsBy(nameOf(command), outcomeOf(exit)).updateUnsafe(1, fiber.context)
      secondsBy(nameOf(command)).updateUnsafe(seconds, fiber.context)
      return Effect.void
    })
  })

const outcomeOf = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.match(exit, {
    onSuccess: () => "ok",
    onFailure: ({ reasons: [reason] }) =>
      reason?._tag === "Fail"
        ? (reason.error as AskError)._tag
        : reason?._tag === "Interrupt"
        ? "interrupted"
        : "defect"
  })
