"""A real telephone for tests, demo and examples, and tones whose arrival can be measured.

`phone.Phone` is what programs use; `check.measure_call` judges a call between two of them; `tones`
makes and judges sound. pjsua2 (GPL) is imported by `child` alone, which runs as a process of its
own and is spoken to in lines of JSON.
"""
