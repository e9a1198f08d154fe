import type { Backend } from '../../engine/index.ts';
import { DeviceLostError, DeviceMemoryError, ShaderError } from '../../kernels/webgpu/index.ts';
import { ApiError } from '../../openai/errors.ts';

/** What a client is told by `code` when the GPU is at fault; the message says what happened. */
export const DEVICE_FAILED = 'device_failed';

export const isDeviceFault = (error: unknown): error is Error =>
  error instanceof DeviceLostError || error instanceof DeviceMemoryError || error instanceof ShaderError;

/** The backend with a GPU's faults as errors that a client may read: 503, with the fault as their cause. */
export function explained(be: Backend): Backend {
  const explain = (error: unknown): never => {
    if (!isDeviceFault(error)) throw error;
    throw new ApiError(503, error.message, { type: 'service_unavailable_error', code: DEVICE_FAILED, cause: error });
  };
  return {
    ...be,
    submit: () => be.submit().catch(explain),
    read: (buf, offset, bytes) => be.read(buf, offset, bytes).catch(explain),
  };
}

/** The GPU's fault that an error came from, if it did. */
export const faultOf = (error: unknown): Error | undefined =>
  isDeviceFault(error) ? error : error instanceof ApiError && isDeviceFault(error.cause) ? error.cause : undefined;
