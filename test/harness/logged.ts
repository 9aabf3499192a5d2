/**
 * What is logged, as lines.
 */
import { Layer, Logger } from "effect"

/** A layer whose logger puts what is logged into the array it comes with: `WARN a sentence`. */
export const logged = () => {
  const lines: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    lines.push([logLevel.toUpperCase(), ...Array.isArray(message) ? message : [message]].join(" "))
  })
  return { lines, layer: Logger.layer([logger]) as Layer.Layer<never> }
}
