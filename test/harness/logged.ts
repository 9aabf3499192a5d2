/**
 * What is logged while a test runs.
 */
import { Logger } from "effect"

/** A logger that keeps the lines of at least a warning. */
export const make = () => {
  const lines: Array<string> = []
  const layer = Logger.layer([
    Logger.make(({ logLevel, message }) => {
      if (logLevel === "Warn" || logLevel === "Error" || logLevel === "Fatal") {
        lines.push(`${logLevel}: ${String(message)}`)
      }
    })
  ])
  return { lines, layer }
}
