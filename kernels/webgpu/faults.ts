/** What can go wrong on a GPU comes late, as promises and events; this collects it until the engine next waits. */

/** The device is gone: driver reset, browser's decision, unplugged. Everything on it is lost; a new one can be asked for. */
export class DeviceLostError extends Error {
  override name = 'DeviceLostError';
}

/** No room on the device for a buffer. */
export class DeviceMemoryError extends Error {
  override name = 'DeviceMemoryError';
}

/** A shader that this device's compiler refuses, or a call that it finds invalid. */
export class ShaderError extends Error {
  override name = 'ShaderError';
}

export class Faults {
  readonly #device: GPUDevice;
  #pending: Promise<void>[] = [];
  #first: Error | undefined;
  #vague: Error | undefined; // often what follows from a first fault
  readonly #onError = (event: Event) => {
    const { error } = event as GPUUncapturedErrorEvent;
    const kind = error.constructor.name === 'GPUOutOfMemoryError' ? DeviceMemoryError : ShaderError;
    this.#vague ??= new kind(`webgpu: ${error.message}`);
  };

  constructor(device: GPUDevice) {
    this.#device = device;
    device.addEventListener('uncapturederror', this.#onError);
    void device.lost.then(({ reason, message }) => {
      this.#first = new DeviceLostError(
        `The GPU device was lost (${reason}${message ? `: ${message.trim()}` : ''}). Load the model again to go on.`,
      );
    });
  }

  add(error: Error): void {
    this.#first ??= error;
  }

  /** Runs `make` and remembers what the device will say of it. */
  watch<T>(filter: GPUErrorFilter, make: () => T, explain: (error: GPUError, made: T) => Error | Promise<Error>): T {
    this.#device.pushErrorScope(filter);
    const made = make();
    const said = this.#device.popErrorScope().then(
      async (error) => {
        if (error) this.add(await explain(error, made));
      },
      () => {}, // the device is lost, which says so itself
    );
    this.#pending.push(said);
    return made;
  }

  /** Throws what is known to have gone wrong. */
  check(): void {
    if (this.known) throw this.known;
  }

  get known(): Error | undefined {
    return this.#first ?? this.#vague;
  }

  /** Waits for what the device has still to say of what was made, and throws the first fault. */
  async settle(): Promise<void> {
    if (this.#pending.length > 0) {
      const waiting = this.#pending;
      this.#pending = [];
      await Promise.all(waiting);
    }
    this.check();
  }

  /** `error` as the user should see it: a lost device explains failures that follow from it. */
  async because(error: unknown): Promise<Error> {
    await new Promise((resolve) => setTimeout(resolve, 0)); // the loss is told in a task of its own
    await Promise.all(this.#pending);
    return this.#first ?? (error instanceof Error ? error : new Error(String(error)));
  }

  dispose(): void {
    this.#device.removeEventListener('uncapturederror', this.#onError);
  }
}
