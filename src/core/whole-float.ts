/**
 * A number that was written as a float although it is whole, such as 1.0. JavaScript has one kind of number, but Python tells 1.0 from
 * 1, and a chat template writes the one or the other. As JSON it is a plain number.
 */
export class WholeFloat {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }

  toJSON(): number {
    return this.value;
  }
}
