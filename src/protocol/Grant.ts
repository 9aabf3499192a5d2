/**
 * What a single access token grants to the browser that authenticates with it: who its user is, what it may join, and for how
 * long.
 *
 * @since 0.1.0
 */

import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as ChannelName from "./ChannelName.ts"
import { byteLength } from "./Frame.ts"
import * as Json from "./Json.ts"
import * as JsonText from "./JsonText.ts"

/**
 * A grant.
 *
 * @since 0.1.0
 */
export interface Grant {
  readonly uid: string
  /** The private and presence channels that the user may join: those whose whole name matches this pattern of RE2. */
  readonly pattern: string
  /** Channels to which the broker subscribes the browser when it authenticates, at most `maxChannels`. */
  readonly channels?: ReadonlyArray<string> | undefined
  /** What the backend says about the user, for the others on presence channels; at most `maxInfoSize` bytes. */
  readonly info?: JsonText.ObjectText | undefined
  /** How many milliseconds after its issue the grant ends, 1 to `maxExpiresIn`; absent if it ends with the connection. */
  readonly expiresIn?: number | undefined
}

/**
 * How many channels a grant may have to which the broker subscribes the browser.
 *
 * @since 0.1.0
 */
export const maxChannels = 100

/**
 * How many bytes the JSON of `info` may have.
 *
 * @since 0.1.0
 */
export const maxInfoSize = 4096

/**
 * After how many milliseconds a grant that ends does so at the latest: 30 days.
 *
 * @since 0.1.0
 */
export const maxExpiresIn = 2_592_000_000

/**
 * What a grant is made of, as applications write it.
 *
 * @since 0.1.0
 */
export interface Options {
  readonly uid: string
  readonly pattern: string
  readonly channels?: ReadonlyArray<string> | undefined
  readonly info?: object | undefined
  readonly expiresIn?: Duration.Input | undefined
}

/**
 * Makes a grant. Fails with a sentence that says what is wrong.
 *
 * @since 0.1.0
 */
export const make = ({ expiresIn, info, ...options }: Options): Result.Result<Grant, string> => {
  const json = info === undefined ? undefined : Result.getOrElse(Json.stringify(info), () => "")
  if (json?.startsWith("{") === false) return Result.fail("info cannot be written as a JSON object")
  const grant: Grant = {
    ...options,
    info: json === undefined ? undefined : new JsonText.ObjectText(json),
    expiresIn: expiresIn === undefined ? undefined : millisOf(expiresIn)
  }
  const problem = problemOf(grant)
  return problem === undefined ? Result.succeed(grant) : Result.fail(problem)
}

const millisOf = (input: Duration.Input): number =>
  Option.match(Duration.fromInput(input), { onNone: () => NaN, onSome: Duration.toMillis })

/**
 * What is wrong with a grant, as a sentence; `undefined` if nothing is.
 *
 * @since 0.1.0
 */
export const problemOf = ({ channels = [], expiresIn, info, pattern, uid }: Grant): string | undefined => {
  if (uid === "") return "the user id is empty"
  if (pattern === "") return "the pattern is empty"
  if (channels.length > maxChannels) return `a token subscribes to at most ${maxChannels} channels`
  const wrong = channels.find((channel) => !ChannelName.isValid(channel))
  if (wrong !== undefined) {
    return `a token cannot subscribe to ${JSON.stringify(wrong.slice(0, 100))}: it is no channel name`
  }
  if (info !== undefined && byteLength(info.text) > maxInfoSize) return `info has at most ${maxInfoSize} bytes of JSON`
  if (expiresIn === undefined || (expiresIn >= 1 && expiresIn <= maxExpiresIn)) return undefined
  return `expiresIn is 1 to ${maxExpiresIn} milliseconds`
}

/**
 * Writes a grant.
 *
 * @since 0.1.0
 */
export const encode = ({ info, ...grant }: Grant): string => {
  const text = JSON.stringify(grant)
  return info === undefined ? text : `${text.slice(0, -1)},"info":${info.text}}`
}

/**
 * Reads a grant; `undefined` if anything is wrong with it. A key that is not known is wrong, too: it may be a restriction, and
 * ignoring that would grant more than was asked for.
 *
 * @since 0.1.0
 */
export const decode = (text: string): Grant | undefined => {
  const value = Result.getOrUndefined(Json.parse(text))
  if (!Json.isObject(value)) return undefined
  const { channels, expiresIn, info, pattern, uid, ...rest } = value
  if (typeof uid !== "string" || typeof pattern !== "string" || Object.keys(rest).length > 0) return undefined
  if (channels !== undefined && !isTexts(channels)) return undefined
  if (info !== undefined && !Json.isObject(info)) return undefined
  if (expiresIn !== undefined && typeof expiresIn !== "number") return undefined
  const grant: Grant = {
    uid,
    pattern,
    ...channels && { channels },
    ...info && { info: JsonText.copy(JsonText.payloadObject(`{"grant":${text}}`, "info")!) },
    ...expiresIn !== undefined && { expiresIn }
  }
  return problemOf(grant) === undefined ? grant : undefined
}

const isTexts = (value: unknown): value is ReadonlyArray<string> =>
  Array.isArray(value) && value.every((one) => typeof one === "string")
