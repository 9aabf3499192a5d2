/**
 * The errors of browsers beyond a limit.
 */

import { TooManyRequestsError } from "../../../protocol/KosmonautError.ts"
import { shared } from "../../domain/sharedError.ts"

/** The error of a limit, which `detail` names. */
export const tooMany = shared((detail) => new TooManyRequestsError({ detail }))
