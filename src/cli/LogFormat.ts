/**
 * How `kosmonaut serve` writes its log.
 *
 * @since 0.1.0
 */

import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"

const formats = ["text", "json"] as const

/**
 * The formats.
 *
 * @since 0.1.0
 */
export type LogFormat = typeof formats[number]

/**
 * The flag `--log-format`, default `$KOSMONAUT_LOG_FORMAT` or text.
 *
 * @since 0.1.0
 */
export const flag = Flag.Literals("log-format", formats).pipe(
  Flag.withMetavar("<format>"),
  Flag.withFallbackConfig(Config.withDefault(Config.Literals(formats, "KOSMONAUT_LOG_FORMAT"), "text")),
  Flag.withDescription(
    "How the log on standard error is written: text, or json, an object on each line; default $KOSMONAUT_LOG_FORMAT or text"
  )
)

/**
 * Writes the log so.
 *
 * @since 0.1.0
 */
export const layer = (format: LogFormat): Layer.Layer<never> =>
  format === "text" ? Layer.empty : Logger.layer([Logger.withConsoleError(Logger.formatJson)])
