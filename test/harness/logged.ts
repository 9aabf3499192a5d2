/**
 * What is logged while a test runs, as lines.
 */
import { Layer, Logger, type LogLevel } from "effect"

/** A layer whose logger keeps the lines of at least `from`: `WARN a sentence`. */
export const logged = (from: LogLevel.LogLevel = "All") => {
  const lines: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    if (levels.indexOf(logLevel) < levels.indexOf(from)) return
    lines.push([logLevel.toUpperCase(), ...Array.isArray(message) ? message : [message]].join(" "))
  })
  return { lines, layer: Logger.layer([logger]) as Layer.Layer<never> }
}

const levels: ReadonlyArray<LogLevel.LogLevel> = ["All", "Trace", "Debug", "Info", "Warn", "Error", "Fatal", "None"]
