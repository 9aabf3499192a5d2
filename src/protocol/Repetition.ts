/**
 * A request that is made again, since its answer did not come.
 *
 * Our broker knows every request by the name of the connection it came by and by its own name there, which its answer
 * echoes. Whoever asks again names both, in frames of their own before the command: `AG <connection> <message>`. The
 * broker gives the answer that it has given already, or carries the request out where it never came. A broker that does
 * not know the word refuses it, so nothing is ever done twice.
 *
 * @since 0.1.0
 */

import type { FromClient } from "./Command.ts"
import type { Frames } from "./Frame.ts"
import type * as Status from "./Status.ts"

/**
 * The name of a request: by which connection it was sent first, and as what.
 *
 * @since 0.1.0
 */
export interface Name {
  readonly connection: string
  readonly message: string
}

/**
 * A request as it is made again.
 *
 * @since 0.1.0
 */
export const encode = ({ connection, message }: Name, frames: Frames): Frames => [again, connection, message, ...frames]

/**
 * Whether a request is made again.
 *
 * @since 0.1.0
 */
export const isRepeated = (frames: Frames): boolean => frames[0] === again

/**
 * The name of a request that is made again.
 *
 * @since 0.1.0
 */
export const nameOf = ([_, connection = "", message = ""]: Frames): Name => ({ connection, message })

/**
 * A request that is made again, as it was at first.
 *
 * @since 0.1.0
 */
export const firstOf = (frames: Frames): Frames => frames.slice(3)

/**
 * The status of what is made again where the broker cannot know whether it was carried out: it has forgotten, or it has
 * begun anew.
 *
 * @since 0.1.0
 */
export const forgotten = 408 satisfies Status.Code

/**
 * Whether to do a command twice is as good as once, so that nobody needs to remember it.
 *
 * @since 0.1.0
 */
export const isHarmless = ({ _tag }: FromClient): boolean => harmless.has(_tag)

const harmless: ReadonlySet<FromClient["_tag"]> = new Set([
  "OpenChannel",
  "ListChannels",
  "DescribeChannel",
  "ListSubscribers",
  "ListDeadLetters"
])

const again = "AG"
