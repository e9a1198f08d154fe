/** ONNX Runtime's reasons for not opening a model, with the operator's name first. */
import { ModelFileError } from '../../models/error.ts';

const LACKS = /Could not find an implementation for (\S+?)\((\d+)\) node with name '([^']*)'/;
const UNKNOWN = /No Op registered for (\S+) with domain_version of (\d+)|(\S+?)\(-?\d+\) is not a registered function\/op/;

/** What `InferenceSession.create` threw, as an error about the model's file. */
export function engineError(error: unknown, where: string): ModelFileError {
  const text = error instanceof Error ? error.message : String(error);
  const lacks = LACKS.exec(text);
  if (lacks)
    return new ModelFileError(
      where,
      `operator ${lacks[1]} (version ${lacks[2]}) of node "${lacks[3]}": onnxruntime-web has no implementation of it`,
    );
  const unknown = UNKNOWN.exec(text);
  if (unknown) return new ModelFileError(where, `operator ${unknown[1] ?? unknown[3]}: onnxruntime-web does not know it`);
  return new ModelFileError(where, `ONNX Runtime refuses it: ${text.replace(/\s+/g, ' ').slice(0, 400)}`);
}
